"""The seven layers of the AI industry chain, one module each; a layer uses those below it, never one above."""
