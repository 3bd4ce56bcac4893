// Sorting: every heading of a table is a button; what has no value stays below.
'use strict';
for (const head of document.querySelectorAll('thead th')) {
  head.addEventListener('click', () => {
    const first = head.className === 'word' ? 'ascending' : 'descending';
    const second = first === 'ascending' ? 'descending' : 'ascending';
    const order = head.ariaSort === first ? second : first;
    const [body] = head.closest('table').tBodies;
    const rows = [...body.rows].sort((...both) => {
      const [a, b] = both.map((row) => row.cells[head.cellIndex].dataset.value);
      if (!a || !b) return !a - !b;
      const rise = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return order === 'ascending' ? rise : -rise;
    });
    body.append(...rows);
    for (const each of head.parentNode.cells) each.ariaSort = each === head ? order : 'none';
    document.querySelector('.told').textContent = `Sorted by ${head.textContent}, ${order}.`;
  });
}
addEventListener('beforeprint', () => document.querySelectorAll('details').forEach((each) => { each.open = true; }));
