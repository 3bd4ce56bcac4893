// Sorting: every heading of a table is a button; what has no value stays below.
'use strict';
for (const head of document.querySelectorAll('thead th')) {
  head.addEventListener('click', () => {
    const [first, second] = head.className === 'word' ? ['ascending', 'descending'] : ['descending', 'ascending'];
    const order = head.ariaSort === first ? second : first;
    const sign = order === 'ascending' ? 1 : -1;
    const value = (row) => row.cells[head.cellIndex].dataset.value;
    const [body] = head.closest('table').tBodies;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (!a || !b) return !a - !b;
      return sign * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    });
    body.append(...rows);
    for (const each of head.parentNode.cells) each.ariaSort = each === head ? order : 'none';
    document.querySelector('.told').textContent = `Sorted by ${head.textContent}, ${order}.`;
  });
}
addEventListener('beforeprint', () => {
  for (const each of document.querySelectorAll('details')) each.open = true;
});
