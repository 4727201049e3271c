"""What the sub-commands of `jaxscale` take and do; each loads what it needs when it is called."""
