"""Conventions: frames, handedness, pixels, ranges, units and letters. Every other module imports them from here.

World      right-handed, +Y up, the front camera on +Z looking along -Z (as glTF): the front camera's OpenGL frame.
           Unit: half the image width is 1, so that the six views see [-1, 1]^3.
Camera     OpenGL axes: x to the image's right, y up, z towards the viewer ("back").
Views      `front, front_right, right, back, left, front_left`: azimuth 0, 45, 90, 180, -90, -45 degrees, elevation 0,
           orthographic. A positive azimuth turns the camera from +Z towards +X (to the image-right side of the front).
Pixels     (u, v) = (to the right, downwards), pixel centres at half integers: the first pixel's centre is (0.5, 0.5),
           the image covers [0, W] x [0, H]. Arrays are [H, W].
z          depth along the viewing direction. Orthographic: 0 at the plane through the world's origin, growing away from
           the camera. Perspective: from the camera plane. `t` is the length along a unit ray. `hit`: opacity in 0..1,
           and z is 0 where hit is 0. NaN never leaves a stage.
Colour     float in [0, 1], sRGB as in the files, over white.
Normals    unit vectors in world axes; code n / 2 + 1/2, over white. What faces the front camera is (128, 128, 255).
Latents    always scaled (raw * LATENT_SCALE); unscaling happens inside of the VAE wrappers.
SDF        negative inside, world units, nodes of a grid at linspace(-1, 1, N), axes [x, y, z].
Letters    V views, H W pixels, h w latent cells, C channels, R rays, S samples on a ray, N points or nodes, F faces,
           T noise levels, B batch (training only), P query pixels.
Doors      foreign frames turn at three places only: data loader, denoiser wrapper, file export.
"""

VIEW_NAMES = ("front", "front_right", "right", "back", "left", "front_left")
VIEW_AZIMUTH_DEG = (0.0, 45.0, 90.0, 180.0, -90.0, -45.0)
FRONT = 0  # index of the front view in every list of views

IMAGE_SIZE = 256  # px, side of a generated view
LATENT_FACTOR = 8  # a latent cell is 8 x 8 px
LATENT_SIZE = IMAGE_SIZE // LATENT_FACTOR
LATENT_CHANNELS = 4
LATENT_SCALE = 0.18215  # Stable Diffusion 1.x: scaled = raw * 0.18215

WORLD_WIDTH = 2.0  # the image's width in world units
OBJECT_FROM_WORLD = 0.675  # Wonder3D's object units (bounding box diagonal 1, image width 1.35) in one house unit

WHITE_TO_NORMAL_MIN = 0.366  # distance of white (1, 1, 1) to the nearest code of a unit normal: (sqrt(3) - 1) / 2
