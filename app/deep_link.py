"""Links into the page: `?tab=learn&step=3` opens the tab of that name; each tab reads the rest of the link itself."""

OPEN_TAB = """
() => {
  const wanted = new URLSearchParams(window.location.search).get('tab');
  const named = (tab) => tab.textContent.trim().toLowerCase().replace(/\\W+/g, '-');
  const tab = [...document.querySelectorAll('button[role=tab]')].find((one) => named(one) === wanted);
  if (tab) tab.click();
}
"""
"""For `demo.load(js=...)`."""
