"""Structs of Warp arrays that the kernels share."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

# Pictures have no derivative.
BAKING_OPTIONS = {"enable_backward": False, "max_unroll": 1, "cpu_compiler_flags": "-march=native"}
CULLING_OPTIONS = {**BAKING_OPTIONS, "cpu_compiler_flags": "-march=native -mllvm -inline-threshold=20000"}
# On a CPU every function is to be inlined: a call would copy the structs below. The least of two numbers is one
# instruction where neither may be NaN and the sign of zero does not matter; poses that are NaN end in the culling.
PAINTING_OPTIONS = {
    **BAKING_OPTIONS,
    "cpu_compiler_flags": "-march=native -mllvm -inline-threshold=200000 -menable-no-nans -fno-signed-zeros "
    "-Wno-nan-infinity-disabled",
}


@wp.struct
class Slot:
    """A geom or site of a scene."""

    kind: wp.int32
    size: wp.vec3
    low: wp.vec3
    high: wp.vec3
    body: wp.int32
    pos: wp.vec3
    mat: wp.mat33
    mesh: wp.uint64
    first: wp.int32  # face of the mesh in `normals`
    coarse: wp.int32  # lit at the corners of its triangles, since these are large
    rgba: wp.vec4
    shine: wp.vec4  # specular, exponent, emission, cosine below which nothing shines
    reflectance: wp.float32
    texture: wp.int32
    scale: wp.vec3
    geom: wp.int32
    owner: wp.int32
    fixed: wp.int32  # whether it never moves


@wp.struct
class Light:
    """A light of a scene."""

    kind: wp.int32
    pos: wp.vec3
    dir: wp.vec3
    ambient: wp.vec3
    diffuse: wp.vec3
    specular: wp.vec3
    range: wp.vec3  # attenuation
    cone: wp.vec2  # cosine of the cutoff, exponent


@wp.struct
class Scene:
    """All of a scene that there is once."""

    num_lights: wp.int32
    caster: wp.int32  # the light that casts shadows, -1 for none
    mirror: wp.int32  # the slot that reflects, -1 for none
    floor: wp.float32  # height of the lowest that never moves
    near: wp.float32
    shadow: wp.float32
    texel: wp.float32
    sky: wp.int32


@wp.struct
class Texture:
    """A texture: of a plane, or of a cube's six faces, which may be one."""

    cube: wp.int32
    width: wp.int32
    height: wp.int32
    levels: wp.int32


@wp.struct
class SceneArrays:
    """`DrawTables` on the drawing device."""

    rows: wp.array(dtype=Scene)
    slots: wp.array2d(dtype=Slot)  # (scenes, slots)
    lights: wp.array2d(dtype=Light)  # (scenes, lights)
    moving: wp.array2d(dtype=wp.uint32)  # (scenes, words) a bit for each slot that may move
    normals: wp.array2d(dtype=wp.vec3)  # (faces, 3)
    textures: wp.array(dtype=Texture)
    texture_level: wp.array2d(dtype=wp.int32)  # (textures, levels) first pixel of a mipmap
    pixels: wp.array(dtype=wp.vec3ub)


@wp.struct
class Situation:
    """The environments to draw: poses, cameras, goal marks and colours, from JAX."""

    scene: wp.array(dtype=wp.int32)
    body_pos: wp.array2d(dtype=wp.vec3)
    body_mat: wp.array2d(dtype=wp.mat33)
    camera_pos: wp.array(dtype=wp.vec3)
    camera_mat: wp.array(dtype=wp.mat33)
    focal: wp.array(dtype=wp.float32)  # pixels
    mark: wp.array(dtype=wp.int32)  # slot of the goal's site, -1 for none
    mark_pos: wp.array(dtype=wp.vec3)  # in its body's frame
    tint: wp.array2d(dtype=wp.vec3)  # (environments or 1, slots) factors of colours
    view: wp.array(dtype=wp.int32)  # column of `Layers.index`, -1 where no layer may be used


@wp.struct
class Layers:
    """Pictures of all that never moves, (layers, height, width), over which the rest is drawn."""

    index: wp.array2d(dtype=wp.int32)  # (scenes, views) layer, -1 for none
    slot: wp.array3d(dtype=wp.int16)
    t: wp.array3d(dtype=wp.float32)
    base: wp.array3d(dtype=wp.vec3)  # colour without the light that casts shadows, and without reflections
    cast: wp.array3d(dtype=wp.vec3)  # that light's share, zero in the shadow of what never moves
    mirror: wp.array3d(dtype=wp.vec3)  # reflection
    mirror_t: wp.array3d(dtype=wp.float32)
    edge: wp.array3d(dtype=wp.vec3)  # to be added where nothing that moves is near: it smooths edges
    center: wp.array3d(dtype=wp.vec3)  # all of these together, but for edges
    picture: wp.array3d(dtype=wp.vec3ub)  # and with them


@wp.struct
class Pose:
    """A slot of an environment, as it stands."""

    inverse: wp.mat33  # rotation from the world to the slot's frame
    pos: wp.vec3
    eye: wp.vec3  # the camera in the slot's frame
    mirror_eye: wp.vec3  # its mirror image
    depth: wp.float32  # nearest that the slot may be
    rect: wp.vec4  # pixels that the slot may cover: left, top, right, bottom
    mirror_rect: wp.vec4  # and its reflection
    shadow_rect: wp.vec4  # and the shadow that it throws on what never moves


@wp.struct
class Tile:
    """A square of a picture."""

    count: wp.int32  # opaque slots in its list
    clear: wp.int32  # translucent ones
    mirrored: wp.int32  # opaque ones in its list of reflections
    still: wp.int32  # whether it is as its layer


@wp.struct
class Scratch:
    """Between the kernels, of a few environments at a time."""

    poses: wp.array2d(dtype=Pose)  # (envs, slots)
    sun: wp.array4d(dtype=wp.uint32)  # (envs, cells, cells, words) slots whose shadow may fall there
    tiles: wp.array3d(dtype=Tile)  # (envs, rows, columns)
    order: wp.array4d(dtype=wp.uint8)  # the tile's opaque slots, nearest first; from the end the translucent ones
    mirror_order: wp.array4d(dtype=wp.uint8)
    slot: wp.array3d(dtype=wp.int16)  # (envs, height, width) what the pixel's centre shows, -1 for the sky
    t: wp.array3d(dtype=wp.float32)
    face: wp.array3d(dtype=wp.int32)
    uv: wp.array3d(dtype=wp.vec2)
    color: wp.array3d(dtype=wp.vec3)  # of the pixel's centre


@wp.struct
class Pixel:
    """A pixel of a picture, and what it belongs to."""

    env: wp.int32  # row of the scratch arrays
    b: wp.int32  # of the batch
    s: wp.int32  # scene
    layer: wp.int32  # -1 for none
    y: wp.int32
    x: wp.int32
    row: wp.int32  # of its tile
    column: wp.int32
    width: wp.int32  # of the picture
    height: wp.int32


@wp.struct
class Hit:
    """Nearest surface on a ray."""

    slot: wp.int32  # -1 for none
    t: wp.float32  # metres along the camera's axis
    face: wp.int32  # of the mesh; else what the shape says of its side
    u: wp.float32
    v: wp.float32
