"""The demo: a Gradio page over `flextok`. Only `app.service` and what it is made of run the library's models."""
