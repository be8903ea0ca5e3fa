"""The order of an epoch, and the batches that are taken from it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxml.data.pipeline import balanced_order, epoch_order, take_batch
from jaxml.types import Batch

RANDOM_ENOUGH = 1e-3  # a p-value that a right implementation falls below once in a thousand seeds


@pytest.fixture(scope="module")
def orders() -> np.ndarray:
    """The orders of ten images in 5000 epochs of one run, `[5000, 10]`."""
    order = jax.vmap(lambda epoch: epoch_order(jax.random.key(0), epoch, size=10))
    return np.asarray(jax.jit(order)(jnp.arange(5000, dtype=jnp.int32)))


@pytest.fixture
def data() -> Batch:
    """Ten images of 2x3 pixels with two channels, no two pixels alike."""
    images = np.arange(10 * 2 * 3 * 2).reshape(10, 2, 3, 2).astype(np.uint8)
    return Batch(jnp.asarray(images), jnp.arange(50, 60, dtype=jnp.int32))


@pytest.mark.parametrize("size", [1, 1000])
def test_an_epoch_visits_every_image_once(size):
    order = epoch_order(jax.random.key(0), jnp.int32(0), size=size)
    assert (order.shape, order.dtype) == ((size,), jnp.int32)
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_every_epoch_has_an_order_of_its_own(orders):
    assert len(np.unique(orders[:20], axis=0)) == 20


def test_every_key_has_an_order_of_its_own():
    keys = jax.random.split(jax.random.key(0), 10)
    first = [np.asarray(epoch_order(key, jnp.int32(0), size=1000)) for key in keys]
    assert len(np.unique(first, axis=0)) == 10


@pytest.mark.slow
def test_the_order_is_the_same_compiled_alone_in_a_loop_and_on_another_device():
    size, key = 1000, jax.random.key(3)
    eager = [epoch_order(key, jnp.int32(epoch), size=size) for epoch in range(4)]

    compiled = jax.jit(epoch_order, static_argnames="size")
    np.testing.assert_array_equal(compiled(key, jnp.int32(2), size=size), eager[2])

    def next_epoch(epoch, _):
        return epoch + 1, epoch_order(key, epoch, size=size)

    _, looped = jax.lax.scan(next_epoch, jnp.int32(0), length=4)
    np.testing.assert_array_equal(looped, eager)

    elsewhere = jax.device_put((key, jnp.int32(2)), jax.devices()[1])
    np.testing.assert_array_equal(epoch_order(*elsewhere, size=size), eager[2])


def test_every_image_is_equally_likely_at_every_place(orders):
    np.testing.assert_array_equal(np.sort(orders, axis=1), [range(10)] * 5000)
    counts = np.stack([np.bincount(place, minlength=10) for place in orders.T])
    # Rows and columns add up to 5000 each, hence the factor 9/10 and the 81 degrees of freedom.
    deviation = np.sum((counts - 500) ** 2 / 500) * 9 / 10
    assert scipy.stats.chi2.sf(deviation, 81) > RANDOM_ENOUGH


def test_every_arrangement_of_four_images_is_equally_likely(orders):
    places = np.argsort(orders, axis=1)[:, :4]
    arrangements = np.argsort(places, axis=1)
    counts = [
        np.sum(np.all(arrangements == permutation, axis=1))
        for permutation in itertools.permutations(range(4))
    ]
    _, likelihood = scipy.stats.chisquare(counts)
    assert likelihood > RANDOM_ENOUGH


def test_the_order_of_an_epoch_says_nothing_about_the_next(orders):
    table = np.zeros((10, 10))
    np.add.at(table, (orders[:-1:2, 0], orders[1::2, 0]), 1)
    _, likelihood = scipy.stats.chisquare(table.ravel())
    assert likelihood > RANDOM_ENOUGH


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_batch_is_what_fancy_indexing_takes(data, compiled, index):
    order = np.asarray([7, 2, 9, 4, 0, 1, 8, 3, 6, 5], np.int32)
    take = jax.jit(take_batch, static_argnames="batch_size") if compiled else take_batch
    batch = take(data, jnp.asarray(order), jnp.int32(index), batch_size=3)
    chosen = order[[3 * index, 3 * index + 1, 3 * index + 2]]
    np.testing.assert_array_equal(batch.inputs, np.asarray(data.inputs)[chosen], strict=True)
    np.testing.assert_array_equal(batch.targets, np.asarray(data.targets)[chosen], strict=True)


def test_many_batches_are_taken_at_once_under_vmap(data):
    order = np.asarray([7, 2, 9, 4, 0, 1, 8, 3, 6, 5], np.int32)
    take = jax.vmap(lambda index: take_batch(data, jnp.asarray(order), index, batch_size=2))
    batches = take(jnp.asarray([4, 1], jnp.int32))
    np.testing.assert_array_equal(batches.targets, 50 + order[[[8, 9], [2, 3]]])
    np.testing.assert_array_equal(batches.inputs, np.asarray(data.inputs)[order[[[8, 9], [2, 3]]]])


@pytest.mark.slow
@pytest.mark.parametrize(("batch_size", "visited"), [(1, 10), (3, 9), (5, 10), (7, 7), (10, 10)])
def test_the_whole_batches_of_an_epoch_visit_no_image_twice(data, batch_size, visited):
    order = epoch_order(jax.random.key(1), jnp.int32(2), size=10)
    labels = [
        int(label)
        for index in range(10 // batch_size)
        for label in take_batch(data, order, jnp.int32(index), batch_size=batch_size).targets
    ]
    assert len(labels) == len(set(labels)) == visited
    assert set(labels) <= set(range(50, 60))


def test_images_and_labels_stay_together(data):
    order = epoch_order(jax.random.key(5), jnp.int32(0), size=10)
    batch = take_batch(data, order, jnp.int32(1), batch_size=4)
    np.testing.assert_array_equal(batch.inputs[:, 0, 0, 0], 12 * (batch.targets - 50))


LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [57, 30, 5, 1]))


@pytest.fixture(scope="module")
def balanced() -> np.ndarray:
    """The orders of 93 examples of four classes in 2000 epochs."""

    def order(epoch):
        key = jax.random.key(0)
        return balanced_order(key, epoch, labels=jnp.asarray(LABELS, jnp.int32), num_classes=4)

    return np.asarray(jax.jit(jax.vmap(order))(jnp.arange(2000, dtype=jnp.int32)))


def test_balanced_classes_are_visited_equally_often(balanced):
    assert balanced.dtype == np.int32
    rounds = LABELS[balanced[:, :92]].reshape(2000, 23, 4)
    np.testing.assert_array_equal(np.sort(rounds), np.broadcast_to(range(4), rounds.shape))


def test_the_examples_of_a_class_are_visited_equally_often(balanced):
    for order in balanced[:20]:
        visits = np.bincount(order, minlength=len(LABELS))
        for label in range(4):
            assert np.ptp(visits[label == LABELS]) <= 1


def test_every_example_of_a_class_is_equally_likely_at_a_place(balanced):
    for place in (0, 50):
        visited = balanced[:, place]
        counts = np.bincount(LABELS[visited], minlength=4)
        assert scipy.stats.chisquare(counts).pvalue > RANDOM_ENOUGH
        within = visited[LABELS[visited] == 1]
        counts = np.bincount(within, minlength=len(LABELS))[LABELS == 1]
        assert scipy.stats.chisquare(counts).pvalue > RANDOM_ENOUGH


def test_balanced_epochs_and_keys_have_orders_of_their_own(balanced):
    assert len(np.unique(balanced[:20], axis=0)) == 20
    labels = jnp.asarray(LABELS, jnp.int32)
    keys = jax.random.split(jax.random.key(0), 5)
    orders = [balanced_order(key, jnp.int32(0), labels=labels, num_classes=4) for key in keys]
    assert len(np.unique(orders, axis=0)) == 5
