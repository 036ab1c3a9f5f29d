"""Prints as JSON what TensorBoard's own reader finds in the directory of a run."""

import json
import sys

from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

run = EventAccumulator(sys.argv[1], size_guidance={"tensors": 0})
run.Reload()
found = {}
for tag in run.Tags()["tensors"]:
    plugin = run.SummaryMetadata(tag).plugin_data.plugin_name
    events = [
        {"step": event.step, "time": event.wall_time, "value": tensor_util.make_ndarray(event.tensor_proto).tolist()}
        for event in run.Tensors(tag)
    ]
    found[tag] = {"plugin": plugin, "events": events}

# Bytes, each as a character; JSON has no NaN.
print(json.dumps(found, default=lambda value: value.decode("latin-1")).replace(": NaN", ": null"))
