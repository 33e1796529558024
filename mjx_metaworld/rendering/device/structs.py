"""Structs of Warp arrays that the kernels share."""

# pyright: reportInvalidTypeForm=false

import warp as wp  # pyright: ignore[reportMissingModuleSource]

# Pictures have no derivative. On a CPU every function is to be inlined: a call would copy the structs below.
KERNEL_OPTIONS = {
    "enable_backward": False,
    "max_unroll": 1,
    "cpu_compiler_flags": "-march=native -mllvm -inline-threshold=20000",
}


@wp.struct
class SceneArrays:
    """`DrawTables` on the drawing device: (scenes, slots), (scenes, lights), (scenes,) and flat."""

    kind: wp.array2d(dtype=wp.int32)
    size: wp.array2d(dtype=wp.vec3)
    low: wp.array2d(dtype=wp.vec3)
    high: wp.array2d(dtype=wp.vec3)
    body: wp.array2d(dtype=wp.int32)
    pos: wp.array2d(dtype=wp.vec3)
    mat: wp.array2d(dtype=wp.mat33)
    mesh: wp.array2d(dtype=wp.uint64)
    first: wp.array2d(dtype=wp.int32)  # face of the mesh in `normals`
    coarse: wp.array2d(dtype=wp.int32)  # lit at the corners of its triangles, since these are large
    rgba: wp.array2d(dtype=wp.vec4)
    shine: wp.array2d(dtype=wp.vec4)  # specular, exponent, emission, cosine below which nothing shines
    reflectance: wp.array2d(dtype=wp.float32)
    texture: wp.array2d(dtype=wp.int32)
    scale: wp.array2d(dtype=wp.vec3)
    geom: wp.array2d(dtype=wp.int32)
    owner: wp.array2d(dtype=wp.int32)
    fixed: wp.array2d(dtype=wp.int32)  # whether it never moves
    moving: wp.array2d(dtype=wp.uint32)  # (scenes, words) a bit for each slot that may move
    normals: wp.array2d(dtype=wp.vec3)  # (faces, 3)
    light_kind: wp.array2d(dtype=wp.int32)
    light_pos: wp.array2d(dtype=wp.vec3)
    light_dir: wp.array2d(dtype=wp.vec3)
    light_ambient: wp.array2d(dtype=wp.vec3)
    light_diffuse: wp.array2d(dtype=wp.vec3)
    light_specular: wp.array2d(dtype=wp.vec3)
    light_range: wp.array2d(dtype=wp.vec3)  # attenuation
    light_cone: wp.array2d(dtype=wp.vec2)  # cosine of the cutoff, exponent
    num_lights: wp.array(dtype=wp.int32)
    caster: wp.array(dtype=wp.int32)  # the light that casts shadows, -1 for none
    mirror: wp.array(dtype=wp.int32)  # the slot that reflects, -1 for none
    veils: wp.array(dtype=wp.int32)  # whether anything is translucent
    floor: wp.array(dtype=wp.float32)  # height of the lowest that never moves
    near: wp.array(dtype=wp.float32)
    shadow: wp.array(dtype=wp.float32)
    texel: wp.array(dtype=wp.float32)
    sky: wp.array(dtype=wp.int32)
    pixels: wp.array(dtype=wp.vec3ub)
    texture_cube: wp.array(dtype=wp.int32)
    texture_width: wp.array(dtype=wp.int32)
    texture_height: wp.array(dtype=wp.int32)
    texture_levels: wp.array(dtype=wp.int32)
    texture_level: wp.array2d(dtype=wp.int32)


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
class Scratch:
    """Between the kernels, of a few environments at a time."""

    inverse: wp.array2d(dtype=wp.mat33)  # (envs, slots) rotation from the world to the slot's frame
    pos: wp.array2d(dtype=wp.vec3)  # of the slot
    eye: wp.array2d(dtype=wp.vec3)  # the camera in the slot's frame
    mirror_eye: wp.array2d(dtype=wp.vec3)  # its mirror image
    rect: wp.array2d(dtype=wp.vec4)  # pixels that the slot may cover: left, top, right, bottom
    mirror_rect: wp.array2d(dtype=wp.vec4)  # and its reflection
    shadow_rect: wp.array2d(dtype=wp.vec4)  # and the shadow that it throws on what never moves
    depth: wp.array2d(dtype=wp.float32)  # nearest that the slot may be
    sun: wp.array4d(dtype=wp.uint32)  # (envs, cells, cells, words) slots whose shadow may fall there
    count: wp.array3d(dtype=wp.uint8)  # (envs, rows, columns of tiles)
    order: wp.array4d(dtype=wp.uint8)  # the tile's slots, nearest first
    mirror_count: wp.array3d(dtype=wp.uint8)
    mirror_order: wp.array4d(dtype=wp.uint8)
    still: wp.array3d(dtype=wp.uint8)  # whether the tile is as its layer
    clear: wp.array3d(dtype=wp.uint8)  # whether its list holds anything translucent
    slot: wp.array3d(dtype=wp.int16)  # (envs, height, width) what the pixel's centre shows, -1 for the sky
    t: wp.array3d(dtype=wp.float32)
    face: wp.array3d(dtype=wp.int32)
    uv: wp.array3d(dtype=wp.vec2)
    color: wp.array3d(dtype=wp.vec3)  # of the pixel's centre


@wp.struct
class Hit:
    """Nearest surface on a ray."""

    slot: wp.int32  # -1 for none
    t: wp.float32  # metres along the camera's axis
    face: wp.int32  # of the mesh; else what the shape says of its side
    u: wp.float32
    v: wp.float32
