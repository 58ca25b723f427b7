"""Walks a plan: binds dimensions, finds every address once, then launch, launch, launch."""
