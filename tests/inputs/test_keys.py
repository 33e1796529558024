"""Random keys of seeds."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from mjx_metaworld.inputs.keys import key_of_seed


@pytest.mark.parametrize("seed", [0, 7, np.int64(2**32 - 1)])
def test_a_seed_has_the_key_that_jax_gives_it(seed):
    assert key_of_seed(seed) == jax.random.key(seed)
    assert jax.random.key_impl(key_of_seed(seed, impl="rbg")) == "rbg"


@pytest.mark.parametrize("seed", [-1, 2**32, 2**63, 1.0])
def test_a_seed_that_would_be_another_is_refused(seed):
    with pytest.raises(ValueError, match=f"seed must be an integer from 0 to 4294967295, got {seed}"):
        key_of_seed(seed)
