"""Toybox renderer: analytic ray tracing in numpy, vectorised over frames, deterministic for a spec.

What stands still is shaded once per clip, what moves only inside its bounding box: that is what makes thousands of
clips affordable on a CPU. Shading is Lambert + specular with hard floor shadows and distance fog, 2x2 supersampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flextok.toybox.motion import HITTER_RADIUS, trajectory
from flextok.toybox.spec import COLORS, FLOORS, SKIES, ToyboxSpec, ToyObject

Array = np.ndarray

SUPERSAMPLING = 2
PITCH = 0.20
"""The camera looks down by this angle, radians."""
TAN_HALF_FOV = 0.52
FOG_DISTANCE = 16.0
AMBIENT = 0.55
SHADOW_DEPTH = 0.5
LIGHT_AZIMUTH, LIGHT_ELEVATION = 0.8, 0.9
"""Radians. One light for all clips: a shadow then says where a body is, and nothing else."""
CAMERA_HEIGHT = 1.5
DARK_MARKS, LIGHT_MARKS = (0.13, 0.13, 0.15), (0.95, 0.95, 0.95)
HITTER = ToyObject("ball", "white", "striped", HITTER_RADIUS)


@dataclass
class _Camera:
    """Rays of all pixels per frame; F is 1 while the camera stands still."""

    directions: Array
    """(F, N, 3) unit vectors in the world."""
    origin: Array
    """(3,)"""
    yaw: Array
    """(F,)"""
    side: int


@dataclass
class _Layer:
    color: Array
    """(F, N, 3) in [0, 1]."""
    depth: Array
    """(F, N): distance along the ray; inf is sky."""


def render(spec: ToyboxSpec, size: int = 64) -> Array:
    """Render a spec to frames: uint8 (T, size, size, 3), T = 1 + 16 per action."""
    path = trajectory(spec)
    num_frames = spec.num_frames
    camera = _make_camera(path.camera_yaw, size * SUPERSAMPLING)
    light = np.array(
        [
            np.cos(LIGHT_ELEVATION) * np.sin(LIGHT_AZIMUTH),
            np.sin(LIGHT_ELEVATION),
            -np.cos(LIGHT_ELEVATION) * np.cos(LIGHT_AZIMUTH),
        ],
        dtype=np.float32,
    )
    bystanders = [_Solid.standing(obj) for obj in spec.objects[1:]]
    subject = _Solid.moving(spec.subject, path.position, path.yaw, path.roll)
    movers = [subject]
    if np.isfinite(path.hitter).any():
        shown = np.isfinite(path.hitter[:, 0])
        center = np.where(shown[:, None], path.hitter - [0, HITTER_RADIUS, 0], [0, -100.0, 0])
        movers.append(_Solid.moving(HITTER, center, np.zeros(num_frames), center[:, 0]))

    floor_point, floor_depth = _floor_points(camera)
    layer = _Layer(_background(spec, camera, floor_point, floor_depth), floor_depth)
    lit = np.ones(floor_depth.shape, dtype=bool)
    for solid in bystanders:
        _cast_shadow(solid, floor_point, floor_depth, light, lit)
    static_shade = np.where(lit, 1.0, 1.0 - SHADOW_DEPTH).astype(np.float32)
    static = _Layer(layer.color * static_shade[..., None], floor_depth.copy())
    for solid in bystanders:
        _draw(solid, spec, camera, light, static)

    frames = _Layer(
        np.repeat(static.color, num_frames // len(static.color), axis=0),
        np.repeat(static.depth, num_frames // len(static.depth), axis=0),
    )
    if len(floor_depth) == 1:  # a standing camera: every frame sees the same floor
        floor_point, floor_depth = (np.broadcast_to(a, (num_frames, *a.shape[1:])) for a in (floor_point, floor_depth))
    lit = np.ones(frames.depth.shape, dtype=bool)
    for solid in movers:
        _cast_shadow(solid, floor_point, floor_depth, light, lit)
    # A mover's shadow falls on floor that is still in view and that no bystander shades already.
    newly_dark = ~lit & (frames.depth == floor_depth) & (np.broadcast_to(static_shade, lit.shape) == 1.0)
    frames.color[newly_dark] *= 1.0 - SHADOW_DEPTH
    for solid in movers:
        _draw(solid, spec, camera, light, frames)

    s = SUPERSAMPLING
    pixels = frames.color.reshape(num_frames, size, s, size, s, 3).mean(axis=(2, 4))
    return (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)


def project(points: Array, camera_origin: Array, camera_yaw: Array) -> tuple[Array, Array, Array]:
    """Where points (F, 3) stand on the screen: x (F,) to the right and y (F,) down, both in [-1, 1] inside the picture,
    and depth (F,) along the camera's axis in world units.

    Args:
        camera_origin: (3,)
        camera_yaw: (F,), radians, positive to the right.
    """
    rel = points - camera_origin
    cx = rel[:, 0] * np.cos(camera_yaw) - rel[:, 2] * np.sin(camera_yaw)
    forward = rel[:, 0] * np.sin(camera_yaw) + rel[:, 2] * np.cos(camera_yaw)
    cy = rel[:, 1] * np.cos(PITCH) + forward * np.sin(PITCH)
    depth = forward * np.cos(PITCH) - rel[:, 1] * np.sin(PITCH)
    near = np.maximum(depth, 0.3)
    return cx / near / TAN_HALF_FOV, -cy / near / TAN_HALF_FOV, depth


@dataclass
class _Solid:
    """An object with its poses: centre (F, 3), cos and sin of its yaw (F,), and the angle balls have rolled (F,)."""

    obj: ToyObject
    center: Array
    cos: Array
    sin: Array
    roll: Array

    @classmethod
    def moving(cls, obj: ToyObject, foot: Array, yaw: Array, rolled: Array) -> _Solid:
        center = (foot + np.array([0.0, obj.radius, 0.0])).astype(np.float32)
        angle = rolled / obj.radius if obj.shape == "ball" else np.zeros_like(rolled)
        yaw = yaw.astype(np.float32)
        return cls(obj, center, np.cos(yaw), np.sin(yaw), angle.astype(np.float32))

    @classmethod
    def standing(cls, obj: ToyObject) -> _Solid:
        return cls.moving(obj, np.array([[obj.x, 0.0, obj.z]]), np.array([obj.yaw]), np.zeros(1))

    @property
    def bound(self) -> float:
        """Radius of the bounding sphere: half a cube's space diagonal is the largest."""
        return self.obj.radius * {"ball": 1.0, "cube": 1.42}.get(self.obj.shape, 1.3)


def _make_camera(yaw: Array, side: int) -> _Camera:
    yaw = (yaw if np.ptp(yaw) > 0 else yaw[:1]).astype(np.float32)
    span = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    u, v = np.meshgrid(span * TAN_HALF_FOV, -span * TAN_HALF_FOV)
    y = v * np.cos(PITCH) - np.sin(PITCH)
    z = v * np.sin(PITCH) + np.cos(PITCH)
    local = np.stack([u, y, z], axis=-1).reshape(-1, 3)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    cos, sin = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    directions = np.stack(
        [
            local[:, 0] * cos + local[:, 2] * sin,
            np.broadcast_to(local[:, 1], (len(yaw), len(local))),
            local[:, 2] * cos - local[:, 0] * sin,
        ],
        axis=-1,
    ).astype(np.float32)
    return _Camera(directions, np.array([0.0, CAMERA_HEIGHT, 0.0], dtype=np.float32), yaw, side)


def _floor_points(camera: _Camera) -> tuple[Array, Array]:
    """Where each ray meets the floor: (F, N, 2) as (x, z), and the distance (F, N), inf for sky."""
    down = camera.directions[..., 1]
    with np.errstate(divide="ignore"):
        depth = np.where(down < -1e-3, -camera.origin[1] / down, np.inf).astype(np.float32)
    reach = np.where(np.isfinite(depth), depth, 0.0)[..., None]
    return camera.directions[..., [0, 2]] * reach, depth


def _background(spec: ToyboxSpec, camera: _Camera, floor_point: Array, floor_depth: Array) -> Array:
    """Colour of floor and sky without shadows, (F, N, 3)."""
    rng = np.random.default_rng(spec.style_seed)
    horizon, zenith = (np.array(c, dtype=np.float32) for c in SKIES[spec.sky])
    up = camera.directions[..., 1]
    color = horizon + (zenith - horizon) * np.clip(up / 0.35, 0, 1)[..., None]
    azimuth = np.arctan2(camera.directions[..., 0], camera.directions[..., 2])
    for height, shade in ((0.13, 0.86), (0.07, 0.70)):  # two ranges of hills
        ridge = height * (0.35 + 0.65 * rng.uniform())
        for frequency in (2.0, 4.5, 9.0):
            ridge = ridge + height * 0.9 / frequency * np.sin(
                frequency * azimuth * rng.uniform(0.8, 1.25) + rng.uniform(0, 2 * np.pi)
            )
        hill = shade * (0.5 * (horizon + zenith))
        color = np.where((up < ridge)[..., None], hill, color)
    floor = np.array(FLOORS[spec.floor], dtype=np.float32) * float(rng.uniform(0.88, 1.12))
    x, z = floor_point[..., 0], floor_point[..., 1]
    with np.errstate(invalid="ignore"):
        contrast = 0.30 * np.exp(-floor_depth / 9.0)  # fades before it could alias
    cell = float(rng.uniform(1.0, 1.5))
    shift = rng.uniform(0, cell, 2)
    ix, iz = (x + shift[0]) / cell, (z + shift[1]) / cell
    if spec.floor_pattern == "tiles":
        sign = np.where((np.floor(ix) + np.floor(iz)) % 2 == 0, 0.5, -0.5)
    else:
        sign = 0.5 * np.sin(2 * np.pi * ix / 3 + rng.uniform(0, 6)) * np.sin(2 * np.pi * iz / 3)
    shaded = floor * (1 + contrast * sign)[..., None]
    fog = 1 - np.exp(-np.where(np.isfinite(floor_depth), floor_depth, 0) / FOG_DISTANCE)
    shaded = shaded + (horizon - shaded) * (0.75 * fog)[..., None]
    return np.where(np.isfinite(floor_depth)[..., None], shaded, color).astype(np.float32)


def _cast_shadow(solid: _Solid, floor_point: Array, floor_depth: Array, light: Array, lit: Array) -> None:
    """Clear `lit` (F, N) where the way from the floor to the light is blocked by the solid."""
    # Only floor inside the shadow of the bounding sphere is tested exactly.
    foot = solid.center[:, [0, 2]] - light[[0, 2]] * (solid.center[:, 1:2] / light[1])
    reach = solid.bound / light[1]
    dx = floor_point[..., 0] - foot[:, None, 0]
    dz = floor_point[..., 1] - foot[:, None, 1]
    near = (dx * dx + dz * dz < reach * reach) & np.isfinite(floor_depth)
    frame, pixel = np.nonzero(near)
    if not len(frame):
        return
    pose = frame if len(solid.center) > 1 else np.zeros_like(frame)
    ground = floor_point[frame, pixel]
    origin = np.stack([ground[:, 0], np.zeros(len(ground), np.float32), ground[:, 1]], axis=-1)
    origin, direction = _to_local(solid, pose, origin, np.broadcast_to(light, origin.shape))
    distance = _intersect(solid.obj.shape, origin, direction)[0]
    blocked = np.isfinite(distance)
    lit[frame[blocked], pixel[blocked]] = False


def _draw(solid: _Solid, spec: ToyboxSpec, camera: _Camera, light: Array, layer: _Layer) -> None:
    """Shade the solid into the layer where it is nearer than what is there."""
    num_frames, side = len(layer.depth), camera.side
    yaw = np.broadcast_to(camera.yaw, (num_frames,))
    center = np.broadcast_to(solid.center, (num_frames, 3))
    # Bounding box on the screen: the bounding sphere in camera space, projected.
    mid_x, mid_y, cz = project(center, camera.origin, yaw)
    reach = solid.bound / np.maximum(cz - solid.bound, 0.3) / TAN_HALF_FOV
    span = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    in_x = np.abs(span - mid_x[:, None]) < reach[:, None]  # (F, side)
    in_y = np.abs(span - mid_y[:, None]) < reach[:, None]
    visible = (cz > solid.bound)[:, None, None]
    frame, row, column = np.nonzero(in_y[:, :, None] & in_x[:, None, :] & visible)
    if not len(frame):
        return
    pixel = row * side + column
    ray = frame if len(camera.directions) > 1 else np.zeros_like(frame)
    pose = frame if len(solid.center) > 1 else np.zeros_like(frame)
    world = camera.directions[ray, pixel]
    origin, direction = _to_local(solid, pose, np.broadcast_to(camera.origin, world.shape), world)
    distance, normal = _intersect(solid.obj.shape, origin, direction)
    distance = distance * solid.obj.radius
    seen = distance < layer.depth[frame, pixel]
    frame, pixel, pose, distance = frame[seen], pixel[seen], pose[seen], distance[seen]
    normal, world = normal[seen], world[seen]
    hit = origin[seen] + direction[seen] * (distance / solid.obj.radius)[:, None]
    albedo = _albedo(solid.obj, hit, solid.roll[pose])
    cos, sin = solid.cos[pose], solid.sin[pose]
    normal = np.stack(
        [normal[:, 0] * cos + normal[:, 2] * sin, normal[:, 1], normal[:, 2] * cos - normal[:, 0] * sin], axis=-1
    )
    lambert = np.clip(normal @ light, 0, 1)
    color = albedo * (AMBIENT + (1 - AMBIENT) * lambert)[:, None]
    horizon = np.array(SKIES[spec.sky][0], dtype=np.float32)
    fog = 0.75 * (1 - np.exp(-np.maximum(distance - 4, 0) / FOG_DISTANCE))
    layer.color[frame, pixel] = color + (horizon - color) * fog[:, None]
    layer.depth[frame, pixel] = distance


def _to_local(solid: _Solid, pose: Array, origin: Array, direction: Array) -> tuple[Array, Array]:
    """Rays in the solid's own frame, where its half height is 1 (so distances come in radii)."""
    cos, sin = solid.cos[pose], solid.sin[pose]
    scale = np.float32(1 / solid.obj.radius)
    rel = (origin - solid.center[pose]) * scale

    def turn(v: Array) -> Array:
        return np.stack([v[:, 0] * cos - v[:, 2] * sin, v[:, 1], v[:, 2] * cos + v[:, 0] * sin], axis=-1)

    return turn(rel), turn(direction)


def _planes(normals: list[tuple[float, float, float]], offsets: list[float]) -> tuple[Array, Array]:
    n = np.array(normals, dtype=np.float32)
    length = np.linalg.norm(n, axis=1)
    return n / length[:, None], np.array(offsets, dtype=np.float32) / length


_CUBE = _planes(
    [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)],
    [0.82, 0.82, 1, 1, 0.82, 0.82],
)


def _intersect(shape: str, origin: Array, direction: Array) -> tuple[Array, Array]:
    """Distance to the entry point (inf where missed) and the outward normal, in the solid's own frame."""
    if shape == "ball":
        return _intersect_ball(origin, direction)
    if shape == "cube":
        return _intersect_convex(origin, direction, *_CUBE)
    return _intersect_round(origin, direction, cone=shape == "cone")


def _intersect_ball(o: Array, d: Array) -> tuple[Array, Array]:
    b = (o * d).sum(axis=1)
    discriminant = b * b - (o * o).sum(axis=1) + 1
    distance = -b - np.sqrt(np.maximum(discriminant, 0))
    distance = np.where((discriminant > 0) & (distance > 1e-3), distance, np.inf)
    reach = np.where(np.isfinite(distance), distance, 0)
    return distance, o + d * reach[:, None]


def _intersect_convex(o: Array, d: Array, normals: Array, offsets: Array) -> tuple[Array, Array]:
    """A convex solid as an intersection of half spaces n.x <= offset."""
    near, far = np.full(len(o), -np.inf, np.float32), np.full(len(o), np.inf, np.float32)
    face = np.zeros(len(o), np.int8)
    for index, (n, offset) in enumerate(zip(normals, offsets, strict=True)):
        slope, room = d @ n, offset - o @ n
        with np.errstate(divide="ignore", invalid="ignore"):
            t = room / slope
        entering = (slope < 0) & (t > near)
        near = np.where(entering, t, near)
        face = np.where(entering, index, face)
        far = np.where((slope > 0) & (t < far), t, far)
        far = np.where((slope == 0) & (room < 0), -np.inf, far)
    hit = (near < far) & (near > 1e-3)
    return np.where(hit, near, np.inf), normals[face]


def _intersect_round(o: Array, d: Array, cone: bool) -> tuple[Array, Array]:
    """A cylinder of radius 0.8, or a cone of base radius 0.95; both from y = -1 to y = 1."""
    if cone:  # x^2 + z^2 = (k (1 - y))^2
        k = np.float32(0.95 / 2)
        top, slope = k * (1 - o[:, 1]), -k * d[:, 1]
    else:
        k = np.float32(0.0)
        top, slope = np.full(len(o), 0.8, np.float32), np.zeros(len(o), np.float32)
    a = d[:, 0] ** 2 + d[:, 2] ** 2 - slope**2
    b = o[:, 0] * d[:, 0] + o[:, 2] * d[:, 2] - top * slope
    c = o[:, 0] ** 2 + o[:, 2] ** 2 - top**2
    discriminant = b * b - a * c
    root = np.sqrt(np.maximum(discriminant, 0))
    best = np.full(len(o), np.inf, np.float32)
    normal, cap = np.zeros_like(o), np.zeros(len(o), dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        for t in ((-b - root) / a, (-b + root) / a):
            y = o[:, 1] + t * d[:, 1]
            hit = (discriminant > 0) & (t > 1e-3) & (t < best) & (np.abs(y) <= 1)
            best = np.where(hit, t, best)
        for height in (-1.0, 1.0) if not cone else (-1.0,):
            t = (height - o[:, 1]) / d[:, 1]
            x, z = o[:, 0] + t * d[:, 0], o[:, 2] + t * d[:, 2]
            hit = (t > 1e-3) & (t < best) & (x * x + z * z < (0.8 if not cone else 0.95) ** 2)
            best = np.where(hit, t, best)
            normal[hit] = (0.0, height, 0.0)
            cap |= hit
    side = np.isfinite(best) & ~cap
    point = o[side] + d[side] * best[side, None]
    radius = np.maximum(np.hypot(point[:, 0], point[:, 2]), 1e-6)
    out = np.stack([point[:, 0] / radius, np.full(len(point), k, np.float32), point[:, 2] / radius], axis=-1)
    normal[side] = out / np.sqrt(1 + k * k)
    return best, normal


def _albedo(obj: ToyObject, hit: Array, roll: Array) -> Array:
    """Surface colour at local points `hit` (n, 3); patterns are fixed to the body, balls carry theirs as they roll."""
    base = np.array(COLORS[obj.color], dtype=np.float32)
    if obj.pattern == "plain":
        return np.broadcast_to(base, hit.shape).copy()
    cos, sin = np.cos(roll), np.sin(roll)  # rolling to +x turns the top towards +x
    x, y, z = hit[:, 0] * cos - hit[:, 1] * sin, hit[:, 0] * sin + hit[:, 1] * cos, hit[:, 2]
    if obj.pattern == "striped":
        marked = np.sin(y * 2.2 * np.pi) > 0.1
    else:
        # Shifted off the axis, or a quarter turn would look like none.
        u, v, w = ((c * 1.05 + shift) % 1 - 0.5 for c, shift in ((x, 0.2), (y, 0.0), (z, 0.37)))
        marked = u * u + v * v + w * w < 0.15
    marks = DARK_MARKS if obj.color in ("white", "yellow") else LIGHT_MARKS
    return np.where(marked[:, None], np.array(marks, dtype=np.float32), base)
