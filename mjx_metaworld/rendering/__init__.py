"""Pictures of states: MuJoCo's own renderer on the original scenes, and a ray caster where there is no OpenGL."""
