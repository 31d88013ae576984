"""Models of every adversarial recipe, judged by attackers of other libraries: accuracy under attack.

    python -m benchmarks.robustness

The models are those of `examples/train_robust.py`: mnist5k, all 4,000 labels, one network, one budget. On the test
images, pixels in 0..1:

- `ART PGD`: projected gradient descent of the Adversarial Robustness Toolbox, 40 steps, 3 random starts;
- `ART Square`: its Square attack, which reads nothing but the model's answers, on the first `--square_images`;
- `White box`: on the same images as Square, those that withstand ART's PGD, Foolbox's, ours from the whole radius, from
  its corners (three times) and from there towards each other class, and ART's Auto-PGD of 100 steps, 3 random starts;
- `Foolbox L2`: Foolbox's projected gradient descent in the L2 norm, 40 steps;
- `kc.perturbations.PGD` against either library: radius, steps, step size and one random start the same.

Where a black-box attack finds more than a white-box one, the network hides its gradient rather than being robust. So
the table counts, beside the accuracies, the images that Square breaks and no white-box attack does. Trained weights are
kept in `--cache` and finished rows in `--results`, so that the command can be stopped and started again.

Needs the extra `[benchmarks]`. Tune with `--hold_out` alone.
"""

import functools
import time

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import keras_consistency as kc
from benchmarks import harness
from examples import train_robust

RECIPES = flags.DEFINE_list("recipes", list(train_robust.RECIPES), "What to train and attack.")
SEED = flags.DEFINE_integer("seed", 0, "Of the weights, the views and the attacks.", lower_bound=0)
STEPS = flags.DEFINE_integer("steps", 1900, "Optimizer steps of each training.", lower_bound=10)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 50, "Images a step.", lower_bound=1)
LEARNING_RATE = flags.DEFINE_float("learning_rate", 4e-3, "Of Adam.", lower_bound=0.0)
RADIUS = flags.DEFINE_float("radius", 0.3, "L-infinity radius of the training.", lower_bound=0.01, upper_bound=1.0)
ATTACK_STEPS = flags.DEFINE_integer("attack_steps", 5, "Of PGD at each step of the training.", lower_bound=1)
LINF = flags.DEFINE_list("linf", ["0.2", "0.3"], "L-infinity radii to attack with.")
L2 = flags.DEFINE_list("l2", ["1", "2"], "L2 radii to attack with.")
PGD_STEPS = flags.DEFINE_integer("pgd_steps", 40, "Of the white-box attacks.", lower_bound=1)
STEP = flags.DEFINE_float("step", 1 / 3, "Length of their steps as a share of the radius.", lower_bound=0.001)
L2_STEP = flags.DEFINE_float("l2_step", 0.1, "The same in the L2 norm.", lower_bound=0.001)
RESTARTS = flags.DEFINE_integer("restarts", 3, "Random starts of ART's PGD.", lower_bound=1)
IMAGES = flags.DEFINE_integer("images", 500, "Test images for the white-box attacks.", lower_bound=1)
SQUARE_IMAGES = flags.DEFINE_integer(
    "square_images", 300, "The first of them, for the black-box attack.", lower_bound=1
)
SQUARE_STEPS = flags.DEFINE_integer("square_steps", 1000, "Of the black-box attack.", lower_bound=1)
CACHE = flags.DEFINE_string("cache", "runs/robustness-weights", "Folder of trained weights.")
RESULTS = flags.DEFINE_string("results", "runs/benchmark-robustness.json", "File of finished rows.")
HOLD_OUT = flags.DEFINE_integer(
    "hold_out", 0, "Measure on so many training images, taken out of the training: to tune.", lower_bound=0
)


class Victim:
    """A trained network as the attackers see it: images in 0..1 to logits, one compiled function for all of them.

    Args:
        network: built `keras.Model` for images in 0..255.
    """

    def __init__(self, network):
        shape = (None, *network.input_shape[1:])
        call = tf.function(lambda x: network(255.0 * x, training=False))
        self._call = call.get_concrete_function(tf.TensorSpec(shape, tf.float32))

    def __call__(self, x, training=False):
        return self._call(tf.convert_to_tensor(x, tf.float32))

    def right(self, x, y):
        """Whether each image is recognised: booleans `(images,)`."""
        return self(x).numpy().argmax(axis=-1) == y


def art_classifier(victim, shape, classes):
    """The victim as ART wants it."""
    from art.estimators.classification import TensorFlowV2Classifier

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    return TensorFlowV2Classifier(
        victim, nb_classes=classes, input_shape=shape, loss_object=loss, clip_values=(0.0, 1.0)
    )


def art_pgd(classifier, x, y, *, radius, steps, step_size, restarts):
    """Images attacked by ART's projected gradient descent, L-infinity."""
    from art.attacks.evasion import ProjectedGradientDescent

    attack = ProjectedGradientDescent(
        classifier,
        norm=np.inf,
        eps=radius,
        eps_step=step_size,
        max_iter=steps,
        num_random_init=restarts,
        batch_size=500,
        verbose=False,
    )
    return attack.generate(x, y)


def art_square(classifier, x, y, *, radius, steps):
    """Images attacked by ART's Square attack, L-infinity."""
    from art.attacks.evasion import SquareAttack

    attack = SquareAttack(classifier, norm=np.inf, eps=radius, max_iter=steps, batch_size=1000, verbose=False)
    return attack.generate(x, y)


def foolbox_pgd(victim, x, y, *, radius, steps, step_size, norm):
    """Images attacked by Foolbox's projected gradient descent, one random start."""
    if not hasattr(np, "find_common_type"):  # NumPy 2 has dropped what Foolbox 3.3.4 names on import
        np.find_common_type = lambda arrays, scalars: np.result_type(*arrays, *scalars)
    import foolbox

    kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    attack = kind(abs_stepsize=step_size, steps=steps, random_start=True)
    model = foolbox.TensorFlowModel(victim, bounds=(0, 1), device="/CPU:0")
    batches = [slice(start, start + 500) for start in range(0, len(x), 500)]
    attacked = [
        attack(model, tf.constant(x[rows]), tf.constant(y[rows], tf.int64), epsilons=radius)[1] for rows in batches
    ]
    return np.concatenate([each.numpy() for each in attacked])


def own_pgd(victim, x, y, *, seed, steps, **options):
    """Images attacked by `kc.perturbations.PGD`."""
    attack = kc.perturbations.PGD(steps=steps, clip_range=(0, 1), **options)
    run = tf.function(lambda x, y: attack(x, victim, labels=y, seed=(seed, 0)))
    run = run.get_concrete_function(tf.TensorSpec((None, *x.shape[1:]), x.dtype), tf.TensorSpec((None,), y.dtype))
    batches = [slice(start, start + 500) for start in range(0, len(x), 500)]
    return np.concatenate([run(tf.constant(x[rows]), tf.constant(y[rows])) for rows in batches])


def within(x, attacked, radius, norm):
    """The attacked images, after a check that they keep to the radius (to rounding) and to 0..1."""
    offset = np.reshape(attacked.astype("float64") - x, [len(x), -1])
    longest = np.abs(offset).max() if norm == "linf" else np.linalg.norm(offset, axis=1).max()
    if longest > radius + 1e-5 or attacked.min() < 0 or attacked.max() > 1:
        raise AssertionError(f"An attack left its radius: {longest} of {radius}, {attacked.min()}..{attacked.max()}.")
    return attacked


def art_auto_pgd(classifier, x, y, *, radius, restarts):
    """Images attacked by ART's Auto-PGD, which chooses its own step sizes: L-infinity, 100 steps."""
    from art.attacks.evasion import AutoProjectedGradientDescent

    attack = AutoProjectedGradientDescent(
        classifier,
        norm=np.inf,
        eps=radius,
        eps_step=2 * radius,
        max_iter=100,
        nb_random_init=restarts,
        batch_size=500,
        loss_type="cross_entropy",
        verbose=False,
    )
    return attack.generate(x, y)


def stubborn(victim, classifier, x, y, standing, *, radius, steps, step_size, restarts, seed):
    """Which images withstand what is left of the white box: our PGD from the corners, and ART's Auto-PGD."""
    standing, classes = standing.copy(), classifier.nb_classes
    options = {"radius": radius, "steps": steps, "step_size": step_size, "norm": "linf", "random_start": 10.0}

    def away(start, x, y):
        return own_pgd(victim, x, y, seed=seed + start, **options)

    def towards(other, x, y):
        return own_pgd(victim, x, (y + other) % classes, seed=seed, targeted=True, **options)

    attacks = [functools.partial(away, start) for start in range(restarts)]
    attacks += [functools.partial(towards, other) for other in range(1, classes)]
    attacks.append(functools.partial(art_auto_pgd, classifier, radius=radius, restarts=restarts))
    for attacked_by in attacks:
        (rows,) = np.nonzero(standing)
        if len(rows):
            attacked = within(x[rows], attacked_by(x[rows], y[rows]), radius, "linf")
            standing[rows] = victim.right(attacked, y[rows])
    return standing


def attack(network, x, y, *, linf, l2, pgd_steps, step, l2_step, restarts, square_images, square_steps, seed):
    """What a network withstands.

    Args:
        network: built `keras.Model` for images in 0..255, which returns logits.
        x: images in 0..1, float32 `(images, height, width, channels)`.
        y: class numbers `(images,)`.
        linf, l2: lists of radii.
        pgd_steps, step, l2_step, restarts, square_images, square_steps, seed: as the flags.

    Returns:
        A dictionary: accuracies from 0 to 1 by attack and radius; and the success rates of one library and the other
        under `"pairs"`, a list of dictionaries.
    """
    victim = Victim(network)
    classifier = art_classifier(victim, x.shape[1:], network.output_shape[-1])
    some = slice(0, square_images)
    found = {"clean": float(np.mean(victim.right(x, y))), "linf": {}, "l2": {}, "pairs": []}

    def right(attacked, radius, norm):
        return victim.right(within(x[: len(attacked)], attacked, radius, norm), y[: len(attacked)])

    def pair(other, radius, norm, theirs, ours):
        rates = {"theirs": float(1 - theirs.mean()), "ours": float(1 - ours.mean())}
        found["pairs"].append({"library": other, "norm": norm, "radius": radius, **rates})

    for radius in linf:
        options = {"radius": radius, "steps": pgd_steps, "step_size": step * radius}
        keras.utils.set_random_seed(seed)
        strongest = right(art_pgd(classifier, x, y, restarts=restarts, **options), radius, "linf")
        one = right(art_pgd(classifier, x, y, restarts=1, **options), radius, "linf")
        theirs = right(foolbox_pgd(victim, x, y, norm="linf", **options), radius, "linf")
        ours = right(own_pgd(victim, x, y, norm="linf", seed=seed, **options), radius, "linf")
        square = right(art_square(classifier, x[some], y[some], radius=radius, steps=square_steps), radius, "linf")
        pair("ART", radius, "linf", one, ours)
        pair("Foolbox", radius, "linf", theirs, ours)
        white = (strongest & one & theirs & ours)[some]
        white &= stubborn(victim, classifier, x[some], y[some], white, restarts=restarts, seed=seed, **options)
        found["linf"][f"{radius:g}"] = {
            "art_pgd": float(strongest.mean()),
            "art_pgd_on_some": float(strongest[some].mean()),
            "white_box_on_some": float(white.mean()),
            "art_square_on_some": float(square.mean()),
            "only_square": int(np.sum(white & ~square)),
        }
    for radius in l2:
        options = {"radius": radius, "steps": pgd_steps, "step_size": l2_step * radius, "norm": "l2"}
        keras.utils.set_random_seed(seed)
        theirs = right(foolbox_pgd(victim, x, y, **options), radius, "l2")
        ours = right(own_pgd(victim, x, y, seed=seed, **options), radius, "l2")
        pair("Foolbox", radius, "l2", theirs, ours)
        found["l2"][f"{radius:g}"] = {"foolbox_pgd": float(theirs.mean())}
    return found


def trained(recipe, train_data, folder, kept, *, seed, **budget):
    """The network that a recipe trains, from the cache where it is there, and its CPU seconds."""
    path = folder / f"{recipe}-{seed}.weights.h5"
    if str(seed) in kept.runs.get(recipe, {}) and path.exists():
        x, y = train_data
        network = train_robust.build_student(x.shape[1:], int(y.max()) + 1)
        network.load_weights(path)
        return network, kept.runs[recipe][str(seed)]["cpu_seconds"]
    model, took = train_robust.train(recipe, train_data, seed=seed, verbose=0, **budget)
    model.network.save_weights(path)
    kept.add(recipe, str(seed), {"cpu_seconds": round(took["cpu_seconds"], 1)})
    return model.network, took["cpu_seconds"]


def markdown(runs, recipes, seed):
    """Two tables: accuracy under attack, and the success rates of equal attacks of two libraries."""
    rows = {name: runs[name][seed] for name in recipes}
    (first, *_) = rows.values()
    head = ["Model", "Clean"]
    for radius in first["linf"]:
        head += [f"ART PGD {radius}", "the same, Square's images", "White box", "ART Square", "only Square"]
    head += [f"Foolbox L2 {radius}" for radius in first["l2"]] + ["CPU s"]
    lines = [f"| {' | '.join(head)} |", "|--|" + "--:|" * (len(head) - 1)]
    for name, run in rows.items():
        cells = [f"{100 * run['clean']:.1f}"]
        for found in run["linf"].values():
            shown = ("art_pgd", "art_pgd_on_some", "white_box_on_some", "art_square_on_some")
            cells += [f"{100 * found[key]:.1f}" for key in shown] + [str(found["only_square"])]
        cells += [f"{100 * found['foolbox_pgd']:.1f}" for found in run["l2"].values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {run['cpu_seconds']:.0f} |")
    lines += ["", "| Model | Attack, radius | Theirs | Ours | Difference |", "|--|--|--:|--:|--:|"]
    for name, run in rows.items():
        for each in run["pairs"]:
            theirs, ours = 100 * each["theirs"], 100 * each["ours"]
            attack_name = f"{each['library']} {each['norm']} {each['radius']:g}"
            lines.append(f"| {name} | {attack_name} | {theirs:.1f} | {ours:.1f} | {ours - theirs:+.1f} |")
    return "\n".join(lines)


def main(argv):
    """Trains and attacks what is not in the results file yet, then prints the tables."""
    if len(argv) > 1:
        raise app.UsageError(f"Every argument must be a flag. Received: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)
    if unknown := set(RECIPES.value) - set(train_robust.RECIPES):
        raise app.UsageError(f"--recipes must be of {list(train_robust.RECIPES)}. Received: {sorted(unknown)}")
    training = {
        "radius": RADIUS.value,
        "attack_steps": ATTACK_STEPS.value,
        "steps": STEPS.value,
        "batch_size": BATCH_SIZE.value,
        "learning_rate": LEARNING_RATE.value,
    }
    attacks = {
        "linf": [float(radius) for radius in LINF.value],
        "l2": [float(radius) for radius in L2.value],
        "pgd_steps": PGD_STEPS.value,
        "step": STEP.value,
        "l2_step": L2_STEP.value,
        "restarts": RESTARTS.value,
        "square_images": SQUARE_IMAGES.value,
        "square_steps": SQUARE_STEPS.value,
    }
    shared = {**training, "hold_out": HOLD_OUT.value}
    finished = harness.Finished(RESULTS.value, {**shared, **attacks, "images": IMAGES.value})
    kept = harness.Finished(f"{CACHE.value}/trained.json", shared)
    train_data, (x, y) = harness.split(*kc.datasets.load("mnist5k"), hold_out=HOLD_OUT.value)
    order = np.random.default_rng(0).permutation(len(x))[: IMAGES.value]  # they come sorted by class
    x, y = x[order].astype("float32") / 255, y[order]
    seed = str(SEED.value)
    for name in RECIPES.value:
        if seed in finished.runs.get(name, {}):
            continue
        network, seconds = trained(name, train_data, kept.path.parent, kept, seed=SEED.value, **training)
        start = time.process_time()
        found = attack(network, x, y, seed=SEED.value, **attacks)
        found |= {"cpu_seconds": round(seconds, 1), "attack_cpu_seconds": round(time.process_time() - start, 1)}
        finished.add(name, seed, found)
        print(f"{name}: clean {found['clean']:.3f}, {found['linf']}, {found['attack_cpu_seconds']} CPU s", flush=True)
    print(f"\n{markdown(finished.runs, RECIPES.value, seed)}")


if __name__ == "__main__":
    app.run(main)
