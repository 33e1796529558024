"""Texture look-up as OpenGL's: bilinear in the two nearest mipmaps, repeated planes and clamped cubes."""

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device.structs import SceneArrays


@wp.func
def texel(scenes: SceneArrays, row: int):
    """A pixel of a mipmap, 0 to 255."""
    c = scenes.pixels[row]
    return wp.vec3(float(c[0]), float(c[1]), float(c[2]))


@wp.func
def wrapped(i: int, n: int, cube: int):
    """Column or row of a mipmap: clamped on a cube's face, else repeated."""
    result = wp.clamp(i, 0, n - 1)
    if cube == 0:
        result = i % n
        if result < 0:
            result += n
    return result


@wp.func
def bilinear(scenes: SceneArrays, texture: int, level: int, face: int, s: float, t: float):
    """Colour of a mipmap, 0 to 255, between its pixels."""
    cube = scenes.textures[texture].cube
    width = wp.max(scenes.textures[texture].width >> level, 1)
    height = wp.max(scenes.textures[texture].height >> level, 1)
    x = s * float(width) - 0.5
    y = t * float(height) - 0.5
    left = int(wp.floor(x))
    top = int(wp.floor(y))
    fx = x - float(left)
    fy = y - float(top)
    x0 = wrapped(left, width, cube)
    x1 = wrapped(left + 1, width, cube)
    first = scenes.texture_level[texture, level] + face * width * height
    row0 = first + wrapped(top, height, cube) * width
    row1 = first + wrapped(top + 1, height, cube) * width
    upper = texel(scenes, row0 + x0) * (1.0 - fx) + texel(scenes, row0 + x1) * fx
    lower = texel(scenes, row1 + x0) * (1.0 - fx) + texel(scenes, row1 + x1) * fx
    return upper * (1.0 - fy) + lower * fy


@wp.func
def trilinear(scenes: SceneArrays, texture: int, face: int, s: float, t: float, spread: float):
    """Colour 0 to 1 at texture coordinates, of which a pixel spans `spread` texels squared."""
    levels = scenes.textures[texture].levels
    lod = wp.clamp(0.5 * wp.log2(wp.max(spread, 1.0)), 0.0, float(levels - 1))
    level = wp.clamp(int(lod), 0, levels - 1)  # in the table even for coordinates that are NaN
    part = lod - float(level)
    color = bilinear(scenes, texture, level, face, s, t)
    if part > 0.0:
        color = color * (1.0 - part) + bilinear(scenes, texture, level + 1, face, s, t) * part
    return color * (1.0 / 255.0)


@wp.func
def plane_color(scenes: SceneArrays, texture: int, scale: wp.vec3, p: wp.vec3, dx: wp.vec3, dy: wp.vec3):
    """Colour of a plane texture at a point that moves by dx and dy from pixel to pixel."""
    sx = 0.5 * scale[0]
    sy = -0.5 * scale[1]
    width = float(scenes.textures[texture].width)
    height = float(scenes.textures[texture].height)
    along = wp.vec2(sx * dx[0] * width, sy * dx[1] * height)
    down = wp.vec2(sx * dy[0] * width, sy * dy[1] * height)
    spread = wp.max(wp.dot(along, along), wp.dot(down, down))
    return trilinear(scenes, texture, 0, sx * p[0] - 0.5, sy * p[1] - 0.5, spread)


@wp.func
def cube_face(c: wp.vec3):
    """Side of a cube that a direction points to, in OpenGL's order."""
    a = wp.vec3(wp.abs(c[0]), wp.abs(c[1]), wp.abs(c[2]))
    face = int(0)
    if a[0] >= a[1] and a[0] >= a[2]:
        if c[0] < 0.0:
            face = int(1)
    elif a[1] >= a[2]:
        face = int(2)
        if c[1] < 0.0:
            face = int(3)
    else:
        face = int(4)
        if c[2] < 0.0:
            face = int(5)
    return face


@wp.func
def on_face(face: int, c: wp.vec3):
    """A vector in a face's frame: columns, rows, outward."""
    v = wp.vec3(-c[2], -c[1], c[0])
    if face == 1:
        v = wp.vec3(c[2], -c[1], -c[0])
    elif face == 2:
        v = wp.vec3(c[0], c[2], c[1])
    elif face == 3:
        v = wp.vec3(c[0], -c[2], -c[1])
    elif face == 4:
        v = wp.vec3(c[0], -c[1], c[2])
    elif face == 5:
        v = wp.vec3(-c[0], -c[1], -c[2])
    return v


@wp.func
def cube_color(scenes: SceneArrays, texture: int, c: wp.vec3, dx: wp.vec3, dy: wp.vec3):
    """Colour of a cube texture in direction c, which moves by dx and dy from pixel to pixel."""
    face = cube_face(c)
    v = on_face(face, c)
    along = on_face(face, dx)
    down = on_face(face, dy)
    outward = wp.max(v[2], 1.0e-12)
    k = 0.5 * float(scenes.textures[texture].width) / (outward * outward)
    a = wp.vec2(along[0] * outward - v[0] * along[2], along[1] * outward - v[1] * along[2]) * k
    b = wp.vec2(down[0] * outward - v[0] * down[2], down[1] * outward - v[1] * down[2]) * k
    row = int(0)
    if scenes.textures[texture].cube == 6:
        row = face
    spread = wp.max(wp.dot(a, a), wp.dot(b, b))
    return trilinear(scenes, texture, row, 0.5 * (v[0] / outward + 1.0), 0.5 * (v[1] / outward + 1.0), spread)
