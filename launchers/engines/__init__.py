"""Engines that the gateway starts itself: where they run, with which arguments, until when."""
