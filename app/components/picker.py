"""The model picker: one radio button a model, with what it takes; what cannot run here is disabled and says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from flextok.availability import Availability
from flextok.loading.registry import ModelEntry

# Every string comes from the registry or a checkpoint's folder name, and goes through `text` before it is HTML.
TEMPLATE = """
<fieldset class="model-picker">
  <legend>Model</legend>
  ${models.map((model) => {
    const text = (s) => String(s).replace(/[&<>"']/g, (c) => '&#' + c.charCodeAt(0) + ';');
    return `<label class="${model.reason ? 'unavailable' : ''}">
      <input type="radio" name="model-picker" value="${text(model.id)}"
        ${model.id === value ? 'checked' : ''} ${model.reason ? 'disabled' : ''}>
      <span><b>${text(model.id)}</b><small>${text(model.facts)}</small>
      ${model.reason ? `<small class="reason">${text(model.reason)}</small>` : ''}</span>
    </label>`;
  }).join('')}
</fieldset>
"""
CSS = """
.model-picker { border: 0; padding: 0; margin: 0; display: flex; flex-direction: column; gap: 6px; }
.model-picker legend { font-size: 0.85rem; padding: 0 0 4px; }
.model-picker label { display: flex; gap: 8px; align-items: baseline; cursor: pointer; overflow-wrap: anywhere; }
.model-picker small { display: block; color: var(--body-text-color-subdued); }
.model-picker .unavailable { cursor: not-allowed; opacity: 0.75; }
"""
ON_LOAD = """
element.addEventListener('change', (event) => {
  if (event.target.name !== 'model-picker') return;
  props.value = event.target.value;
  trigger('input');
});
"""


def model_picker(value: str, models: Sequence[dict[str, str]], **kwargs: Any) -> gr.HTML:
    """The component; its value is the id of the model in use, its event `input`. `show_models` changes the list.

    A function and no subclass: Gradio writes a stub file beside the module of every subclass.
    """
    return gr.HTML(value, html_template=TEMPLATE, css_template=CSS, js_on_load=ON_LOAD, models=list(models), **kwargs)


def show_models(models: Sequence[dict[str, str]]) -> dict[str, Any]:
    """An update of the picker's list that leaves its value alone."""
    return gr.update(models=list(models))


def picker_rows(models: Sequence[tuple[ModelEntry, Availability | None]]) -> list[dict[str, str]]:
    """What the picker shows; models whose availability is not known yet cannot be picked."""
    return [
        {
            "id": entry.id,
            "facts": facts(entry),
            "reason": "looking whether it can run here ..." if available is None else available.reason,
        }
        for entry, available in models
    ]


def facts(entry: ModelEntry) -> str:
    return (
        f"{entry.pixels} px, K = {entry.num_registers}, {entry.parameters_m:,.0f} M parameters, "
        f"{entry.memory_gib:.1f} GiB; trained on {entry.trained_on}; licence: {entry.licence}"
    )
