"""Requests that are computed together, one row a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from bildwerk.engine import images
from bildwerk.engine.fitting import Fitted, fit
from bildwerk.engine.request import EngineSpec, GeneratedImage, GenerateRequest, IsCancelled, LoraChoice


@dataclass(frozen=True, slots=True)
class Row:
    """Picture `index` of a request."""

    fitted: Fitted
    index: int

    @property
    def request(self) -> GenerateRequest:
        return self.fitted.request

    @property
    def seed(self) -> int:
        return self.request.seed + self.index

    def finish(
        self, model: str, image: Image.Image, timings: Mapping[str, float], warnings: Sequence[str] = ()
    ) -> GeneratedImage:
        """image: RGB at the render size; it is scaled to the request's size and encoded."""
        request = self.request
        parameters = images.parameters_text(model, request, self.seed) if request.embed_parameters else None
        scaled = images.scale_to(image, request.width, request.height)
        encoded = images.encode(scaled, request.output_format, parameters)
        return GeneratedImage(
            request_id=request.id,
            index=self.index,
            data=encoded.data,
            media_type=encoded.media_type,
            width=encoded.width,
            height=encoded.height,
            seed=self.seed,
            warnings=(*self.fitted.warnings, *warnings),
            timings=dict(timings),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one size, one number of steps, one guidance and the same LoRAs."""

    rows: tuple[Row, ...]
    steps: int
    guidance: float | None
    render_width: int
    render_height: int
    loras: tuple[LoraChoice, ...] = ()

    @staticmethod
    def of(spec: EngineSpec, requests: Sequence[GenerateRequest]) -> "Batch":
        """Raises `ValueError` for no requests, for differing batch keys, and as `fit` does."""
        keys = {request.batch_key for request in requests}
        if len(keys) != 1:
            raise ValueError(f"a batch needs requests of one batch key, not of {len(keys)}: {sorted(map(str, keys))}")
        fitted = [fit(spec, request) for request in requests]
        first = fitted[0]
        return Batch(
            rows=tuple(Row(one, index) for one in fitted for index in range(one.request.num_images)),
            steps=first.request.steps,
            guidance=first.request.guidance,
            render_width=first.render_width,
            render_height=first.render_height,
            loras=first.request.active_loras,
        )

    @property
    def prompts(self) -> list[str]:
        return [row.request.prompt for row in self.rows]

    @property
    def description(self) -> str:
        pictures = "1 picture" if len(self.rows) == 1 else f"{len(self.rows)} pictures"
        return f"{pictures} of {self.render_width}x{self.render_height}"

    def wanted(self, is_cancelled: IsCancelled) -> list[int]:
        """The indices of the rows whose request is not cancelled."""
        cancelled = {key: is_cancelled(key) for key in {row.request.id for row in self.rows}}
        return [index for index, row in enumerate(self.rows) if not cancelled[row.request.id]]

    def select(self, indices: Sequence[int]) -> "Batch":
        return replace(self, rows=tuple(self.rows[index] for index in indices))
