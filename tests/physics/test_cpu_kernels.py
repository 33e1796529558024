"""The kernels for CPUs as a whole: a fault in one of them must not show only as a slower step."""

from __future__ import annotations

import pytest

import mjx_metaworld as mw
from mjx_metaworld.physics.backends.cpu.kernels import KERNELS, hindrance
from mjx_metaworld.physics.backends.cpu.operation import CPP
from mjx_metaworld.processes.native import compiler


@pytest.mark.skipif(compiler() is None, reason="there is no compiler of C++")
def test_they_are_used_where_there_is_a_compiler():
    assert hindrance() == ""
    assert mw.make("reach-v3", backend="cpu").engine.config.execution.cpu_kernels


def test_every_source_is_one():
    assert {kernel.source for kernel in KERNELS} == set(CPP.glob("*.cpp"))
