"""What a request to an image model may say: one row a parameter, made from the model's spec.

These rows are the one source of the validator (`inputs`), of the published schema (`documents`) and of the console's
form.
"""

from bildwerk.domain.catalog import EngineNumbers, ModelSpec
from bildwerk.schemas.loras import loras_parameter
from bildwerk.schemas.parameter import Parameter

MAX_STEPS = 50
MAX_SEED = 2**32 - 1
NO_CHECKER = "no safety checker is set up"
OUTPUT_FORMATS = ("png", "jpeg", "webp")
MAX_URL_CHARACTERS = 50_000_000
"""Of an input picture, which may be written out as a data URI."""


def image_parameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    """Every parameter that a request to `spec` may carry besides `model` and `input`, in the order of the form."""
    return (
        prompt(spec),
        *size_parameters(spec),
        count(spec),
        steps(spec),
        seed(),
        guidance(spec),
        loras_parameter(spec.max_loras),
        *picture_parameters(spec),
        *delivery_parameters(),
        *tolerated_parameters(spec),
    )


def prompt(spec: ModelSpec) -> Parameter:
    return Parameter(
        name="prompt",
        kind="string",
        title="Prompt",
        description=f"What the picture shows. The model reads the first {spec.engine.max_text_tokens} tokens.",
        required=True,
        min_length=1,
        max_length=spec.max_prompt_characters,
        component="textarea",
    )


def size_parameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    engine = spec.engine
    sides = f"from {engine.min_side} to {engine.max_side} pixels, {rounding(engine)}"
    return (
        Parameter(
            name="size",
            synonyms=("image_size",),
            kind="string",
            title="Size",
            description=f"Width and height in pixels, written 1024*1024 or 1024x1024. Each side {sides}.",
            default=f"{engine.default_width}*{engine.default_height}",
            form="a text such as 1024*1024",
            max_length=32,
            examples=("512*512", "768*1024", "1024*768", "1024*1024", "1280*720", "720*1280"),
        ),
        side("width", spec, f"Width {sides}. Goes before the width in size."),
        side("height", spec, f"Height {sides}. Goes before the height in size."),
    )


def rounding(engine: EngineNumbers) -> str:
    rounded = f"rounded to a multiple of {engine.size_multiple}"
    largest = engine.max_native_pixels
    return rounded if largest is None else f"{rounded} in pictures of at most {largest} pixels, exact in larger ones"


def side(name: str, spec: ModelSpec, description: str) -> Parameter:
    return Parameter(
        name=name,
        kind="integer",
        title=name.capitalize(),
        description=description,
        minimum=spec.engine.min_side,
        maximum=spec.engine.max_side,
        step=spec.engine.size_multiple,
        component="slider",
    )


def count(spec: ModelSpec) -> Parameter:
    return Parameter(
        name="num_images",
        kind="integer",
        title="Number of pictures",
        description="How many pictures to make of the prompt. Picture i uses the seed plus i.",
        default=1,
        minimum=1,
        maximum=spec.max_images,
        component="slider",
    )


def steps(spec: ModelSpec) -> Parameter:
    return Parameter(
        name="steps",
        synonyms=("num_inference_steps",),
        kind="integer",
        title="Steps",
        description=f"Denoising steps. More than {spec.engine.max_steps} are run as {spec.engine.max_steps}.",
        default=spec.engine.default_steps,
        minimum=1,
        maximum=MAX_STEPS,
        component="slider",
    )


def seed() -> Parameter:
    return Parameter(
        name="seed",
        kind="integer",
        title="Seed",
        description="The same seed and parameters make the same picture. -1 chooses one at random.",
        default=-1,
        nullable=True,
        minimum=-1,
        maximum=MAX_SEED,
    )


def guidance(spec: ModelSpec) -> Parameter:
    default = spec.engine.default_guidance
    return Parameter(
        name="guidance_scale",
        kind="number",
        title="Guidance",
        description="How closely the picture keeps to the prompt.",
        default=default,
        nullable=True,
        minimum=None if default is None else 0,
        maximum=None if default is None else 20,
        component="slider",
        listed=default is not None,
        no_effect=f"{spec.id} has no guidance input" if default is None else None,
    )


def picture_parameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    takes_one = spec.max_input_images > 0
    return (
        picture("image", "Picture", "A picture to start from: a URL, a data URI or base64.", takes_one),
        picture("mask_image", "Mask", "What to repaint of the picture: white is repainted, black is kept.", takes_one),
        Parameter(
            name="strength",
            kind="number",
            title="Strength",
            description="How far to depart from the picture: 0 keeps it, 1 starts anew.",
            default=0.8,
            minimum=0,
            maximum=1,
            component="slider",
            listed=takes_one,
        ),
    )


def picture(name: str, title: str, description: str, listed: bool) -> Parameter:
    return Parameter(
        name=name,
        kind="string",
        title=title,
        description=description,
        max_length=MAX_URL_CHARACTERS,
        component="uploader",
        accept="image/png,image/jpeg,image/webp",
        listed=listed,
    )


def delivery_parameters() -> tuple[Parameter, ...]:
    return (
        Parameter(
            name="output_format",
            kind="string",
            title="Format",
            description="The file format of the pictures.",
            default="png",
            options=OUTPUT_FORMATS,
            component="select",
        ),
        switch("enable_base64_output", "Base64 output", "Answer with data URIs in place of URLs."),
        switch(
            "enable_sync_mode", "Wait for the result", "Answer when the pictures are done, after 60 seconds at most."
        ),
        switch("enable_safety_checker", "Safety checker", "Accepted; no safety checker is set up.", NO_CHECKER),
    )


def switch(name: str, title: str, description: str, no_effect: str | None = None) -> Parameter:
    return Parameter(
        name=name, kind="boolean", title=title, description=description, default=False, no_effect=no_effect
    )


def tolerated_parameters(spec: ModelSpec) -> tuple[Parameter, ...]:
    return (
        unlisted("aspect_ratio", "The shape of the picture, such as 16:9.", 16),
        unlisted("resolution", "With aspect_ratio: how large, 0.5k, 1k or 2k.", 8),
        unlisted("webhook_url", "Where to report the end of the prediction.", 1024),
        unlisted(
            "negative_prompt", "What not to show.", spec.max_prompt_characters, f"{spec.id} has no guidance input"
        ),
    )


def unlisted(name: str, description: str, max_length: int, no_effect: str | None = None) -> Parameter:
    return Parameter(
        name=name,
        kind="string",
        title=name,
        description=description,
        max_length=max_length,
        listed=False,
        no_effect=no_effect,
    )
