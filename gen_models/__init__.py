"""A playground of generative models: small models, trained live or loaded, that share one set of interfaces."""

__version__ = "0.1.0"
