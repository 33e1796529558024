"""Light on a surface, as OpenGL's fixed pipeline computes it at vertices and MuJoCo asks for it."""

import warp as wp  # pyright: ignore[reportMissingModuleSource]

from mjx_metaworld.rendering.device import shapes
from mjx_metaworld.rendering.device.sampling import cube_color, plane_color
from mjx_metaworld.rendering.device.structs import Hit, SceneArrays

_QUADS = wp.constant(4.0)  # into which MuJoCo divides a box's side along each edge


@wp.struct
class Sight:
    """Who looks: the eye, its axis, and what a pixel's ray changes by to the right and down."""

    eye: wp.vec3
    forward: wp.vec3
    ray: wp.vec3
    dx: wp.vec3
    dy: wp.vec3


@wp.func
def toward_light(scenes: SceneArrays, s: int, light: int, p: wp.vec3, forward: wp.vec3):
    """Unit vector to a light, and how much of it arrives."""
    to = -forward
    strength = float(1.0)
    if light > 0:
        to = -scenes.lights[s, light].dir
        if scenes.lights[s, light].kind == 2:
            aim = scenes.lights[s, light].dir
            away = scenes.lights[s, light].pos - p
            distance = wp.length(away)
            to = away / wp.max(distance, 1.0e-9)
            fade = scenes.lights[s, light].range
            strength = 1.0 / wp.max(fade[0] + fade[1] * distance + fade[2] * distance * distance, 1.0e-9)
            cone = scenes.lights[s, light].cone
            cosine = -wp.dot(to, aim)
            if cosine < cone[0]:
                strength = float(0.0)
            else:
                strength *= wp.pow(wp.max(cosine, 0.0), cone[1])
    return to, strength


@wp.func
def gleam(shine: wp.vec4, n: wp.vec3, to: wp.vec3, view: wp.vec3):
    """Specular share of a light at a vertex."""
    result = float(0.0)
    if wp.dot(n, to) > 0.0:
        cosine = wp.dot(n, wp.normalize(to + view))
        if cosine > shine[3]:
            result = shine[0] * wp.pow(cosine, shine[1])
    return result


@wp.func
def clamped(c: wp.vec3):
    """A colour as OpenGL keeps it."""
    return wp.vec3(wp.clamp(c[0], 0.0, 1.0), wp.clamp(c[1], 0.0, 1.0), wp.clamp(c[2], 0.0, 1.0))


@wp.func
def vertex_light(
    scenes: SceneArrays, s: int, shine: wp.vec4, color: wp.vec3, n: wp.vec3, p: wp.vec3, sight: Sight, first_only: int
):
    """Light of all lights but the caster's, and the caster's own, at a vertex; with `first_only` 1 all in the first."""
    view = wp.normalize(sight.eye - p)
    base = shine[2] * color
    cast = wp.vec3(0.0, 0.0, 0.0)
    caster = scenes.rows[s].caster
    for light in range(scenes.rows[s].num_lights):
        if scenes.lights[s, light].kind != 0:
            to, strength = toward_light(scenes, s, light, p, sight.forward)
            facing = wp.max(wp.dot(n, to), 0.0)
            amount = scenes.lights[s, light].ambient + scenes.lights[s, light].diffuse * facing
            part = wp.cw_mul(amount, color) + scenes.lights[s, light].specular * gleam(shine, n, to, view)
            if light == caster and first_only == 0:
                cast += part * strength
            else:
                base += part * strength
    return clamped(base), clamped(cast)


@wp.func
def box_corners(p: wp.vec3, n: wp.vec3, size: wp.vec3):
    """The triangle of a box's grid in which a point lies: corners and weights."""
    q = wp.cw_div(p, size)
    axis = int(2)
    a = int(0)
    b = int(1)
    if n[0] != 0.0:
        axis = int(0)
        a = int(1)
        b = int(2)
    elif n[1] != 0.0:
        axis = int(1)
        a = int(0)
        b = int(2)
    half = 0.5 * _QUADS
    x = (q[a] + 1.0) * half
    y = (q[b] + 1.0) * half
    i = wp.clamp(wp.floor(x), 0.0, _QUADS - 1.0)
    j = wp.clamp(wp.floor(y), 0.0, _QUADS - 1.0)
    fx = wp.clamp(x - i, 0.0, 1.0)
    fy = wp.clamp(y - j, 0.0, 1.0)
    c0 = wp.vec3(i, j + 1.0, 1.0 - fx)  # all triangles of a quad have one diagonal in common
    c1 = wp.vec3(i + 1.0, j, 1.0 - fy)
    c2 = wp.vec3(i, j, fx + fy - 1.0)
    if fx + fy > 1.0:
        c0 = wp.vec3(i, j + 1.0, 1.0 - fx)
        c1 = wp.vec3(i + 1.0, j, 1.0 - fy)
        c2 = wp.vec3(i + 1.0, j + 1.0, fx + fy - 1.0)
    else:
        c0 = wp.vec3(i, j + 1.0, fy)
        c1 = wp.vec3(i + 1.0, j, fx)
        c2 = wp.vec3(i, j, 1.0 - fx - fy)
    p0 = wp.vec3(0.0, 0.0, 0.0)
    p1 = wp.vec3(0.0, 0.0, 0.0)
    p2 = wp.vec3(0.0, 0.0, 0.0)
    p0[a] = (c0[0] / half - 1.0) * size[a]
    p0[b] = (c0[1] / half - 1.0) * size[b]
    p1[a] = (c1[0] / half - 1.0) * size[a]
    p1[b] = (c1[1] / half - 1.0) * size[b]
    p2[a] = (c2[0] / half - 1.0) * size[a]
    p2[b] = (c2[1] / half - 1.0) * size[b]
    p0[axis] = n[axis] * size[axis]
    p1[axis] = n[axis] * size[axis]
    p2[axis] = n[axis] * size[axis]
    return p0, p1, p2, wp.vec3(c0[2], c1[2], c2[2])


@wp.struct
class Shaded:
    """A surface's colour: without the light that casts shadows, and that light's share if nothing hides it."""

    base: wp.vec3
    cast: wp.vec3
    cosine: wp.float32  # of the normal with the direction to that light


@wp.func
def shade(
    scenes: SceneArrays,
    s: int,
    hit: Hit,
    inverse: wp.mat33,
    pos: wp.vec3,
    tint: wp.vec3,
    sight: Sight,
    world: wp.vec3,
    first_only: int,
):
    """Colour of a surface. Vertices are lit where triangles are large, else the point itself is."""
    slot = hit.slot
    kind = scenes.slots[s, slot].kind
    mat = wp.transpose(inverse)
    local = inverse * (world - pos)
    rgba = scenes.slots[s, slot].rgba
    color = wp.cw_mul(wp.vec3(rgba[0], rgba[1], rgba[2]), tint)
    shine = scenes.slots[s, slot].shine
    size = scenes.slots[s, slot].size
    result = Shaded()
    flat = wp.vec3(0.0, 0.0, 1.0)
    normal = wp.vec3(0.0, 0.0, 1.0)
    if kind == shapes.MESH:
        id = scenes.slots[s, slot].mesh
        row = scenes.slots[s, slot].first + hit.face
        w = wp.vec3(hit.u, hit.v, 1.0 - hit.u - hit.v)
        n0 = scenes.normals[row, 0]
        n1 = scenes.normals[row, 1]
        n2 = scenes.normals[row, 2]
        flat = wp.mesh_eval_face_normal(id, hit.face)
        if scenes.slots[s, slot].coarse != 0:
            p0 = pos + mat * wp.mesh_get_point(id, hit.face * 3)
            p1 = pos + mat * wp.mesh_get_point(id, hit.face * 3 + 1)
            p2 = pos + mat * wp.mesh_get_point(id, hit.face * 3 + 2)
            b0, l0 = vertex_light(scenes, s, shine, color, mat * n0, p0, sight, first_only)
            b1, l1 = vertex_light(scenes, s, shine, color, mat * n1, p1, sight, first_only)
            b2, l2 = vertex_light(scenes, s, shine, color, mat * n2, p2, sight, first_only)
            result.base = w[0] * b0 + w[1] * b1 + w[2] * b2
            result.cast = w[0] * l0 + w[1] * l1 + w[2] * l2
        else:
            normal = wp.normalize(w[0] * n0 + w[1] * n1 + w[2] * n2)
            lit, own = vertex_light(scenes, s, shine, color, mat * normal, world, sight, first_only)
            result.base = lit
            result.cast = own
        flat = mat * flat
    elif kind == shapes.BOX:
        normal = shapes.solid_normal(kind, local, size)
        flat = mat * normal
        q0, q1, q2, w = box_corners(local, normal, size)
        b0, l0 = vertex_light(scenes, s, shine, color, flat, pos + mat * q0, sight, first_only)
        b1, l1 = vertex_light(scenes, s, shine, color, flat, pos + mat * q1, sight, first_only)
        b2, l2 = vertex_light(scenes, s, shine, color, flat, pos + mat * q2, sight, first_only)
        result.base = w[0] * b0 + w[1] * b1 + w[2] * b2
        result.cast = w[0] * l0 + w[1] * l1 + w[2] * l2
    else:
        normal = shapes.solid_normal(kind, local, size)
        flat = mat * normal
        lit, own = vertex_light(scenes, s, shine, color, flat, world, sight, first_only)
        result.base = lit
        result.cast = own
    caster = scenes.rows[s].caster
    if caster >= 0:
        result.cosine = -wp.dot(flat, scenes.lights[s, caster].dir)

    texture = scenes.slots[s, slot].texture
    if texture >= 0:
        ray = inverse * sight.ray
        across = inverse * flat
        steep = wp.dot(across, ray)
        if wp.abs(steep) < 1.0e-6:
            steep = -1.0e-6
        dx = inverse * sight.dx
        dy = inverse * sight.dy
        dx = hit.t * (dx - ray * (wp.dot(across, dx) / steep))
        dy = hit.t * (dy - ray * (wp.dot(across, dy) / steep))
        scale = scenes.slots[s, slot].scale
        paint = wp.vec3(1.0, 1.0, 1.0)
        if scenes.textures[texture].cube == 0:
            paint = plane_color(scenes, texture, scale, local, dx, dy)
        else:
            paint = cube_color(scenes, texture, wp.cw_mul(scale, local), wp.cw_mul(scale, dx), wp.cw_mul(scale, dy))
        result.base = wp.cw_mul(result.base, paint)
        result.cast = wp.cw_mul(result.cast, paint)
    return result
