"""The two endpoints the gateway is compared with, as one would write them by hand.

``bare``: FastAPI and ONNX Runtime, no scores, no routing, no record; the bundle's own decoding and
preprocessing, in FastAPI's thread pool, one forward pass per request.
``learn``: FastAPI and ``learn.predict``.
"""

import argparse
import runpy
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, UploadFile


def bare(bundle_folder: Path) -> FastAPI:
    """Serve a bundle's model and nothing else."""
    import onnxruntime

    from reference_data.bundle import load
    from reference_data.preprocess import DecodeLimits, decode, prepare
    from reference_data.scores.forward import softmax

    bundle = load(bundle_folder)
    session = onnxruntime.InferenceSession(
        str(bundle.file("model.onnx")), providers=["CPUExecutionProvider"]
    )
    input_name = session.get_inputs()[0].name
    manifest, limits = bundle.manifest, DecodeLimits()
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        return {"live": True}

    @app.post("/predict")
    def predict(file: Annotated[UploadFile, "the image"]) -> dict[str, object]:
        image = decode(file.file.read(), manifest.preprocessing, limits)
        tensor = prepare(image, manifest.preprocessing)[None]
        [logits] = session.run(["logits"], {input_name: tensor})
        probabilities = softmax(logits)[0]
        return {
            "prediction": manifest.vocab[int(probabilities.argmax())],
            "probabilities": dict(zip(manifest.vocab, probabilities.tolist(), strict=True)),
        }

    return app


def learn(learner: Path, code: Path) -> FastAPI:
    """Serve a Learner as its owner would at first."""
    from fastai.callback.progress import ProgressCallback
    from fastai.learner import load_learner
    from fastai.vision.core import PILImage

    for name, value in runpy.run_path(str(code), run_name="code").items():
        if not name.startswith("__"):
            setattr(sys.modules["__main__"], name, value)
    learner_ = load_learner(learner)
    # Its progress bar is not made for a server; taking it off per call would not be thread-safe.
    learner_.remove_cb(ProgressCallback)
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        return {"live": True}

    @app.post("/predict")
    def predict(file: Annotated[UploadFile, "the image"]) -> dict[str, object]:
        prediction, _, probabilities = learner_.predict(PILImage.create(file.file.read()))
        return {
            "prediction": prediction,
            "probabilities": dict(zip(learner_.dls.vocab, probabilities.tolist(), strict=True)),
        }

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["bare", "learn"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--code", type=Path)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    served = bare(options.model) if options.kind == "bare" else learn(options.model, options.code)
    uvicorn.run(
        served,
        port=options.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
    )
