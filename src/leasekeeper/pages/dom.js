// A small virtual DOM: h() describes elements, render() changes the page to match and keeps what is the same.
// A node with `hold` keeps its content while the pointer is over it. `made` is called with a new element, once it has its place.

const SVG = new Set(["svg", "path", "line", "rect", "circle", "g", "text", "polyline"]);
const AS_PROPERTY = new Set(["value", "checked", "disabled", "open", "selected"]);
const hovers = matchMedia("(hover: hover)");

export function h(tag, props, ...children) {
  const kids = children.flat(8).filter(kid => kid != null && kid !== false && kid !== "");
  return { tag, props: props || {}, kids: kids.map(kid => (typeof kid === "object" ? kid : { text: String(kid) })) };
}

export function render(parent, nodes, force = false) {
  patchChildren(parent, [nodes].flat(8).filter(Boolean), force);
}

function create(node) {
  if (node.text !== undefined) return document.createTextNode(node.text);
  const made = SVG.has(node.tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", node.tag)
    : document.createElement(node.tag);
  made.shown = { tag: node.tag, props: {} };
  patch(made, node, true);
  if (node.props.made) queueMicrotask(() => node.props.made(made));
  return made;
}

function same(existing, node) {
  if (!existing) return false;
  if (node.text !== undefined) return existing.nodeType === 3;
  return existing.shown && existing.shown.tag === node.tag && existing.shown.props.key === node.props.key;
}

function patch(element, node, force) {
  if (node.text !== undefined) {
    if (element.nodeValue !== node.text) element.nodeValue = node.text;
    return;
  }
  const before = element.shown.props;
  const after = node.props;
  for (const name in before) if (!(name in after)) set(element, name, undefined, before[name]);
  for (const name in after) if (after[name] !== before[name]) set(element, name, after[name], before[name]);
  element.shown.props = after;
  const held = after.hold && !force && hovers.matches && element.matches(":hover");
  if (!held) patchChildren(element, node.kids, force);
}

function set(element, name, value, before) {
  if (name === "key" || name === "hold" || name === "made") return;
  // What a handler returns is dropped: false would keep a key from being typed.
  if (name.startsWith("on")) element[name] = value ? event => void value(event) : null;
  else if (name === "vars") {
    for (const each in { ...before, ...value }) {
      if (value?.[each] !== before?.[each]) element.style.setProperty(each, value?.[each] ?? "");
    }
  } else if (AS_PROPERTY.has(name)) element[name] = value ?? "";
  else if (value == null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : value);
}

function patchChildren(parent, kids, force) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    if (child.shown?.props.key !== undefined) keyed.set(child.shown.props.key, child);
  }
  let at = parent.firstChild;
  for (const kid of kids) {
    const key = kid.props?.key;
    let found = key !== undefined ? keyed.get(key) : at;
    if (!same(found, kid)) found = null;
    if (!found) {
      parent.insertBefore(create(kid), at);
      continue;
    }
    if (key !== undefined) keyed.delete(key);
    if (found === at) at = at.nextSibling;
    else parent.insertBefore(found, at);
    patch(found, kid, force);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}
