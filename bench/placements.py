"""Where FLUX.1 [schnell] would lie on a GPU, plan by plan: bytes planned, and bytes that placing takes.

    python -m bench.placements

Placing is carried out on the meta device, in the real shapes and without memory; nothing is measured.
"""

from bench.gpu.networks import REAL
from bildwerk.engine.gpu.footprint import GIB, footprint, networks_without_memory, tensors_of
from bildwerk.engine.gpu.placement import CARDS, in_gib, table
from bildwerk.engine.gpu.plan import Plan, plans
from bildwerk.engine.gpu.streaming import Streamed, place
from bildwerk.engine.networks import ModelShapes, Networks
from bildwerk.engine.precision import Precision

SCHNELL = ModelShapes(REAL.transformer, REAL.t5, REAL.clip, REAL.autoencoder)
EVERY_PLAN = (*plans([Precision.BF16, Precision.FP8, Precision.INT4]), *plans([Precision.INT8]))


def placed_bytes(model: Networks, plan: Plan) -> int:
    """What carrying the plan out leaves on the device: slots, and tensors that do not travel. model: on `meta`."""
    meta = model.transformer.img_in.bias.device
    streamed = place(model, plan, meta, host=meta)
    return sum(slot.nbytes for stream in streamed for slot in stream.slots) + _resident(model, streamed)


def _resident(model: Networks, streamed: list[Streamed]) -> int:
    travelling = {id(tensor) for stream in streamed for unit in stream.units for tensor in unit.tensors}
    parts = (model.transformer, model.t5, model.clip, model.autoencoder)
    tensors = {id(tensor): tensor.nbytes for part in parts for tensor in tensors_of(part)}
    return sum(size for key, size in tensors.items() if key not in travelling)


def main() -> None:
    print("| plan | blocks | modulation | text | rest | workspace | total | weights planned | weights placed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for plan in EVERY_PLAN:
        need = footprint(plan, SCHNELL)
        placed = placed_bytes(networks_without_memory(SCHNELL), plan)
        print(f"| {plan} | {' | '.join(in_gib(need))} | {need.weights / GIB:.3f} | {placed / GIB:.3f} |")
    print()
    for row in table(SCHNELL, CARDS)[1:]:
        print(f"{row[0]}: {row[1]}")


if __name__ == "__main__":
    main()
