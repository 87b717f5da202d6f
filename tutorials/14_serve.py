# %% [markdown]
# # Serve a learner: new tasks over HTTP
# Meta-train once, export, and let other programs, in any language, teach the learner new tasks: a
# support set goes in by POST, a task's name comes out, and queries are answered under that name.
#
#     python tutorials/14_serve.py
#     python tutorials/14_serve.py --keep
#
# It needs the extra `serve` (Flask and waitress). With `--keep` it goes on answering at the end,
# until Ctrl-C.
# Expect, 5-way 1-shot on 600 episodes of scripts not trained on: 96.1 ± 0.5 %, and 200 of 200
# requests at the same time answered right, after 34 s of CPU.

# %%
import argparse
import concurrent.futures
import json
import pathlib
import threading
import time
import urllib.error
import urllib.request

import keras
import numpy as np

import tfmeta

parser = argparse.ArgumentParser(description="a learner as a service over HTTP")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, default=100, help="outer steps an epoch")
parser.add_argument("--test-episodes", type=int, default=600)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("outputs"))
parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 listens to other machines, too")
parser.add_argument("--port", type=int, default=0, help="0: any that is free")
parser.add_argument("--keep", action="store_true", help="go on serving at the end")
options = parser.parse_args()
options.output.mkdir(parents=True, exist_ok=True)
keras.utils.set_random_seed(options.seed)
start, cpu = time.time(), time.process_time()

# %% [markdown]
# A learner is meta-trained as in the other tutorials.

# %%
train, test = tfmeta.datasets.glyphs("train"), tfmeta.datasets.glyphs("test")
learner = tfmeta.learners.ProtoNet(tfmeta.networks.conv4((28, 28, 1), None, filters=32))
learner.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"])
learner.fit(
    tfmeta.episodes.classification(
        train, ways=20, shots=1, queries=5, meta_batch_size=1, seed=options.seed
    ),
    epochs=options.epochs,
    steps_per_epoch=options.steps,
    verbose=2,
)
episodes = tfmeta.episodes.classification(
    test, ways=5, shots=1, queries=5, seed=1, count=options.test_episodes
)
report = tfmeta.evaluation.evaluate_episodes(learner, episodes, count=options.test_episodes)
print(f"ProtoNet, 5-way 1-shot, scripts not trained on: {report}")

# %% [markdown]
# `export` writes a SavedModel: a folder that TensorFlow alone can use, that has a note of shapes,
# preprocessing and versions, and that holds no Python code. `adapt` and `predict_query` are its
# signatures.

# %%
folder = options.output / "exported_learner"
learner.export(folder)
note = json.loads((folder / "assets" / "tfmeta.json").read_text())
print("adapt takes:", note["signatures"]["adapt"]["inputs"])
print("pixels:", note["preprocessing"]["x"])

# %% [markdown]
# The service. On a command line it is `python -m tfmeta.serving outputs/exported_learner`; here it
# runs in a thread of this program. It listens to this machine alone, keeps a limited number of
# tasks, and tells what is wrong with a request in words.

# %%
limits = tfmeta.serving.Limits(tasks=200, rows=500)
server = tfmeta.serving.server(folder, host=options.host, port=options.port, limits=limits)
threading.Thread(target=server.run, daemon=True).start()
address = f"http://{options.host}:{server.effective_port}/v1/models/learner"
print("serving at", address)


# %%
def post(path, content):
    """What the service answers to a POST of JSON, errors included."""
    body = json.dumps(content).encode()
    request = urllib.request.Request(address + path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def teach(support):
    """POST a support set: the service's answer."""
    return post("/tasks", {"inputs": {"x": support.x.tolist(), "y": support.y.tolist()}})


def one_task(episode):
    """The support and query set of a meta-batch of one episode, as arrays."""
    return [tfmeta.Examples(*[np.array(part)[0] for part in examples]) for examples in episode]


# %% [markdown]
# A task of five letters of a script that was not trained on, one picture each.

# %%
support, query = one_task(next(iter(episodes)))
task = teach(support)["task"]
answer = post(f"/tasks/{task}:predict", {"instances": query.x.tolist()})
outputs = np.array(answer["predictions"])
right = np.mean(outputs.argmax(-1) == query.y)
print(f"task {task}: {right:.0%} of {len(query.y)} pictures right over HTTP")
expected = learner.predict_query(learner.adapt(support), query.x)
print(f"largest difference to the learner itself: {np.abs(outputs - expected).max():.1e}")

# %% [markdown]
# What a client does wrong is its own fault, and said.

# %%
for path, content in (
    ("/tasks", {"inputs": {"x": support.x.tolist(), "y": [0, 1, 2, 3, 7]}}),
    ("/tasks", {"inputs": {"x": [[0.5]], "y": [0]}}),
    ("/tasks/no-such-task:predict", {"instances": query.x.tolist()}),
):
    print("error:", post(path, content)["error"])


# %% [markdown]
# Many clients at the same time: 200 requests, each for one of 20 tasks.


# %%
def ask(i):
    """Whether the answer to the i-th request is right."""
    found = post(f"/tasks/{names[i % len(names)]}:predict", {"instances": pictures[i % len(names)]})
    return np.allclose(found["predictions"], answers[i % len(names)], atol=1e-4)


tasks = [
    one_task(episode)
    for episode in tfmeta.episodes.classification(
        test, ways=5, shots=1, queries=2, meta_batch_size=1, seed=2, count=20
    )
]
pictures = [query.x.tolist() for _, query in tasks]
answers = [np.array(learner.predict_query(learner.adapt(s), q.x)) for s, q in tasks]
with concurrent.futures.ThreadPoolExecutor(50) as pool:
    names = [answer["task"] for answer in pool.map(teach, [support for support, _ in tasks])]
    correct = sum(pool.map(ask, range(200)))
print(f"200 requests at the same time for {len(names)} tasks: {correct} answered right")

# %%
picture = options.output / "served_task.png"
tfmeta.evaluation.plot_episode(tfmeta.Episode(support, query), outputs, path=picture)
print("picture:", picture)
wall, cpu = time.time() - start, time.process_time() - cpu
print(f"all of it: {wall:.0f} s, {cpu:.0f} s of CPU")

# %% [markdown]
# With `--keep`, the service is there for others: `curl ADDRESS/metadata` shows the note.

# %%
if options.keep:
    print(f"still serving: curl {address}/metadata")
    threading.Event().wait()
server.close()
