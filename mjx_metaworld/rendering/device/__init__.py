"""Pictures drawn on the device, inside compiled programs: a ray caster in NVIDIA Warp that JAX calls."""
