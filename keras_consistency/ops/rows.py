"""Work on some rows of a batch only, so that an example pays for no operation but its own."""

import tensorflow as tf


def update(mask, function, target, *others):
    """Replace the rows of `target` where `mask` is true by `function` of these rows of `target` and `others`.

    The other rows are returned as they are. Under XLA the chosen rows are a bounded dynamic dimension: `function` must
    not need their number as a constant (no `tf.range` or `tf.fill` over it).

    Args:
        mask: bool, `(n,)`.
        function: called with the chosen rows of `target`, then of each of `others`; returns rows shaped and typed as
            `target`'s.
        target: any dtype, `(n, ...)`.
        *others: any dtype, `(n, ...)`.
    """
    chosen = tf.where(mask)
    indices = chosen[:, 0]
    rows = function(tf.gather(target, indices), *(tf.gather(other, indices) for other in others))
    return tf.tensor_scatter_nd_update(target, chosen, rows)
