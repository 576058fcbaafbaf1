"""The demo: a Gradio page over `flextok`. Only `app.service` talks to the library."""
