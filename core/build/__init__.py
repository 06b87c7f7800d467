"""From a configuration to objects: everything below takes plain arguments and can be used without one."""
