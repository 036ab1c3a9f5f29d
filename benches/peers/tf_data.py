"""tf.data: decodes the drawn part of a JPEG only, and resizes it, with antialiasing unless `--mode no-antialias`."""

import math
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import tensorflow as tf

import peer

settings = peer.arguments()
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(settings.workers)
files = peer.files(settings.directory)


def random_part(height, width):
    """torchvision's RandomResizedCrop.make_params, but for what it does after ten vain tries: the first that fits.

    tf.image.sample_distorted_bounding_box is not it: it draws the side evenly and not the area, so smaller parts.
    """
    area = height * width * tf.random.uniform([10], *peer.SCALE)
    ratio = tf.exp(tf.random.uniform([10], *(math.log(ratio) for ratio in peer.RATIO)))
    sizes = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], axis=1)))
    fits = tf.reduce_all(sizes <= [height, width], axis=1)
    size = sizes[tf.argmax(tf.cast(fits, tf.int32))] if tf.reduce_any(fits) else tf.stack([height, width])
    begin = tf.floor(tf.random.uniform([2]) * ([height, width] - size + 1))
    return tf.cast(tf.concat([begin, size], axis=0), tf.int32)


def load(path, label):
    file = tf.io.read_file(path)
    shape = tf.cast(tf.image.extract_jpeg_shape(file), tf.float32)
    part = random_part(shape[0], shape[1])
    image = tf.image.decode_and_crop_jpeg(file, part, channels=3)
    image = tf.image.resize(image, [settings.size] * 2, antialias=settings.mode != "no-antialias")
    image = tf.image.random_flip_left_right(image)
    image = (image / 255 - peer.MEAN) / peer.STD
    return tf.transpose(image, [2, 0, 1]), label


dataset = tf.data.Dataset.from_tensor_slices(([path for path, _ in files], [label for _, label in files]))
dataset = dataset.shuffle(len(files)).map(load, num_parallel_calls=settings.workers)
dataset = dataset.batch(settings.batch_size).prefetch(2)
options = tf.data.Options()
options.threading.private_threadpool_size = settings.workers
dataset = dataset.with_options(options)
peer.measure(settings, f"TensorFlow {tf.__version__}", lambda: (images for images, _ in dataset.as_numpy_iterator()))
