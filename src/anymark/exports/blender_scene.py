"""A tracked head as a Blender scene, made by anymark.

Run it in Blender 3.6 or later: `blender --python THIS_FILE`, or Text Editor > Open > Run Script. It makes a collection
with, for each head, a camera at the origin that looks along y, an empty that moves as the head, in whose frame x is the
subject's left, y up and z out of the face, an empty for each point and, if it was asked for, the head's mesh. The scene
gets the video's rate, frames and size. Metres, z up. What is shown behind the scene is left to you.
"""

import base64
import json
import math
import zlib

import numpy as np

SCENE = ""

CONSTANT, LINEAR = 0, 1  # interpolation of keys, by number


def unpacked(packed):
    """Values as they were: (R, ...), R being the frames in which the head was found."""
    shape, dtype, content = packed
    values = np.frombuffer(zlib.decompress(base64.b64decode(content)), dtype)
    return np.moveaxis(values.reshape(*shape[1:], shape[0]), -1, 0)


def animate(owner, path, index, frames, values, interpolation=LINEAR):
    """One curve; the first key is Blender's own doing, so that the action is of the kind that its version wants."""
    where = {} if index < 0 else {"index": index}
    owner.keyframe_insert(path, frame=float(frames[0]), **where)
    data = owner.animation_data
    if hasattr(data, "action_slot"):  # since Blender 4.4, things that belong together share an action
        curves = data.action.layers[0].strips[0].channelbag(data.action_slot).fcurves
    else:
        curves = data.action.fcurves
    curve = curves.find(path, index=max(index, 0))
    keys = curve.keyframe_points
    keys.add(len(frames) - 1)
    keys.foreach_set("co", np.column_stack([frames, values]).astype(np.float32).ravel())
    keys.foreach_set("interpolation", np.full(len(frames), interpolation, np.int32))
    curve.update()


def build_camera(scene, collection, head, frames):
    import bpy

    camera = bpy.data.cameras.new(f"head{head['head']} camera")
    camera.sensor_fit, camera.sensor_width = "HORIZONTAL", scene["film_back_mm"]
    shift = unpacked(head["shift"])
    animate(camera, "lens", -1, frames, unpacked(head["lens_mm"]))
    animate(camera, "shift_x", -1, frames, shift[:, 0])
    animate(camera, "shift_y", -1, frames, shift[:, 1])
    thing = bpy.data.objects.new(camera.name, camera)
    thing.rotation_euler = (math.pi / 2, 0, 0)
    collection.objects.link(thing)
    return thing


def build_mesh(scene, head, frames, points):
    """The surface; its absolute shape keys stand ten units of evaluation time apart, one for each frame."""
    import bpy

    triangles = unpacked(scene["triangles"])
    mesh = bpy.data.meshes.new(f"head{head['head']} mesh")
    mesh.from_pydata(points[0].tolist(), [], triangles.tolist())
    thing = bpy.data.objects.new(mesh.name, mesh)
    for place in points:
        key = thing.shape_key_add(from_mix=False)
        key.interpolation = "KEY_LINEAR"
        key.data.foreach_set("co", np.ascontiguousarray(place, np.float32).ravel())
    mesh.shape_keys.use_relative = False
    animate(mesh.shape_keys, "eval_time", -1, frames, [key.frame for key in mesh.shape_keys.key_blocks])
    return thing


def build_head(scene, collection, head):
    import bpy

    frames, points = unpacked(head["frames"]), unpacked(head["points_m"])
    camera = build_camera(scene, collection, head, frames)
    pose = bpy.data.objects.new(f"head{head['head']}", None)
    pose.empty_display_type, pose.empty_display_size = "ARROWS", 0.1
    pose.rotation_mode = "QUATERNION"
    for path, values in (("location", unpacked(head["places_m"])), ("rotation_quaternion", unpacked(head["turns"]))):
        for i in range(values.shape[1]):
            animate(pose, path, i, frames, values[:, i])
    things = [pose]
    for i, name in enumerate(scene["points"]):
        point = bpy.data.objects.new(f"head{head['head']} {name}", None)
        point.empty_display_type, point.empty_display_size = "SPHERE", 0.001
        for axis in range(3):
            animate(point, "location", axis, frames, points[:, i, axis])
        things.append(point)
    if scene["triangles"]:
        things.append(build_mesh(scene, head, frames, points))
    for thing in things:
        collection.objects.link(thing)
        thing.parent = None if thing is pose else pose
        at, hidden = zip(*head["hidden"], strict=True)
        for path in ("hide_viewport", "hide_render"):
            animate(thing, path, -1, at, hidden, CONSTANT)
    return camera


def build():
    import bpy

    scene, here = json.loads(SCENE), bpy.context.scene
    here.render.resolution_x, here.render.resolution_y = scene["size"]
    here.render.resolution_percentage = 100
    here.render.pixel_aspect_x = here.render.pixel_aspect_y = 1
    here.render.fps, here.render.fps_base = scene["fps"], scene["fps_base"]
    here.frame_start, here.frame_end = scene["frames"]
    collection = bpy.data.collections.new("anymark")
    here.collection.children.link(collection)
    cameras = [build_head(scene, collection, head) for head in scene["heads"]]
    here.camera = cameras[0]
    here.frame_set(here.frame_start)


if __name__ == "__main__":
    build()
