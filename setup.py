"""The installed package is `sassl_tf`; `training` and `evaluation` run from a checkout."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
INIT = (ROOT / "sassl_tf" / "__init__.py").read_text("utf-8")
VERSION = re.search(r'__version__ = "(.+)"', INIT)[1]

ADDRESS = "OWNER/sassl_tf"  # on GitHub; `make repository` writes it here
HOME = f"https://github.com/{ADDRESS}"


def readme_for_pypi():
    """The README with whole addresses in place of paths: PyPI has neither docs nor pictures."""
    text = (ROOT / "README.md").read_text("utf-8")
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:)", rf"\1{HOME}/raw/main/", text)
    return re.sub(r"(?<!!)(\[[^\]]*\]\()(?!https?:|#)", rf"\1{HOME}/blob/main/", text)


TRAINING = [
    "absl-py>=2",
    "grpcio>=1.59,<2",  # tensorflow has it too; here it asks whether a dispatcher answers
    "keras-cv>=0.9,<0.10",
    "ml-collections>=1",
    "pyarrow>=15",
    "scikit-learn>=1.5",
    "tensorboard>=2.18",
    "threadpoolctl>=3",
]
EVALUATION = [
    "absl-py>=2",
    "ml-collections>=1",
    "pyarrow>=15",
    "scikit-learn>=1.5",
    "scipy>=1.12",
    "threadpoolctl>=3",
]
# A list for each format of evaluation.export_encoder: what writes it, and its runtime.
ONNX = [
    "onnx>=1.17",
    "onnxruntime>=1.20",
    "tf2onnx>=1.17",
]
LITERT = ["ai-edge-litert>=2"]
OPENVINO = ["openvino>=2025.3"]
DOCS = [
    "mkdocs-material>=9.7",
    "mkdocstrings[python]>=1",
]
# OpenCV draws renditions, and imagecorruptions-imaug needs it too.
ROBUSTNESS = ["imagecorruptions-imaug>=1.1.5,<2", "opencv-python>=4.8"]
NOTEBOOKS = [
    "ipykernel>=6.29",
    "nbclient>=0.10",
    "nbformat>=5.10",
]
TOOLS = [
    "build",
    "hypothesis>=6",
    "import-linter>=2",
    "jax>=0.5",  # the layers are tested on Keras's JAX backend
    "mypy>=1.13",
    "pip-tools>=7",
    "pytest>=8",
    "pytest-xdist>=3",
    "ruff>=0.9",
]

setup(
    name="sassl-tf",
    version=VERSION,
    description="SASSL, style augmentations for self-supervised learning, for Keras",
    long_description=readme_for_pypi(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    url=HOME,
    project_urls={
        "Documentation": f"{HOME}/blob/main/docs/index.md",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    keywords="data augmentation, self-supervised learning, style transfer, keras, tensorflow",
    packages=find_packages(include=["sassl_tf", "sassl_tf.*"]),
    package_data={
        "sassl_tf": ["py.typed"],
        "sassl_tf.samples": ["CREDITS.md", "*/*.jpg"],
        "sassl_tf.stylizers": ["weights/*"],
    },
    python_requires=">=3.10",
    install_requires=[
        "importlib_resources>=6",  # tensorflow-datasets needs it and does not say so
        "keras>=3.12,<4",  # the lowest of TensorFlow 2.21, and the last for Python 3.10
        "matplotlib>=3.8",
        "numpy>=1.26",
        "safetensors>=0.5",
        "setuptools<82",  # tensorflow-hub imports pkg_resources, which later ones lack
        "tensorflow>=2.20,<2.22",
        "tensorflow-datasets>=4.9.7,<5",
        "tensorflow-hub>=0.16.1,<0.17",
        "tqdm>=4.66",
        "wrapt>=1.14",
    ],
    extras_require={
        "training": TRAINING,
        "evaluation": EVALUATION,
        "docs": DOCS,
        "huggingface": ["huggingface-hub>=0.30"],
        "kaggle": ["kagglehub>=0.3"],
        "keras-hub": ["keras-hub>=0.20,<1"],
        "robustness": ROBUSTNESS,
        "onnx": ONNX,
        "litert": LITERT,
        "openvino": OPENVINO,
        "wandb": ["wandb>=0.19"],
        "mlflow": ["mlflow-skinny>=3"],
        "trackio": ["trackio>=0.20"],
        "notebooks": NOTEBOOKS,
        "dev": sorted(
            {*TRAINING, *EVALUATION, *ROBUSTNESS, *ONNX, *LITERT, *DOCS, *NOTEBOOKS, *TOOLS}
        ),
    },
)
