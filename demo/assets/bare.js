// Gradio shows the page's elements as text that it has styles for; they bring their own.

export function bare(element) {
  for (let one = element.parentElement; one && !one.id; one = one.parentElement)
    one.className = one.matches(".fs-page") ? "fs-page" : "";
}
