// Sorting: a heading is a button; the address holds the order, so that it can be sent.
(() => {
  'use strict';
  const told = document.querySelector('.told');

  function sort(table, column, direction) {
    const body = table.tBodies[0];
    const sign = direction === 'ascending' ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value;
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === undefined || b === undefined) {
        // What is not run yet stays below, whichever way the rest goes.
        return (a === undefined) - (b === undefined);
      }
      const [x, y] = [Number(a), Number(b)];
      return sign * (isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y);
    };
    [...body.rows].sort(compare).forEach((row) => body.append(row));
    [...table.tHead.rows[0].cells].forEach((head, number) => {
      head.setAttribute('aria-sort', number === column ? direction : 'none');
    });
    const name = table.tHead.rows[0].cells[column].textContent.trim();
    told.textContent = `Sorted by ${name}, ${direction}.`;
  }

  document.querySelectorAll('table').forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.querySelector('button').addEventListener('click', () => {
        const first = head.classList.contains('word') ? 'ascending' : 'descending';
        const second = first === 'ascending' ? 'descending' : 'ascending';
        const direction = head.getAttribute('aria-sort') === first ? second : first;
        sort(table, column, direction);
        history.replaceState(null, '', `#sort=${table.id}.${column}.${direction}`);
      });
    });
  });

  function follow() {
    const wanted = /^#sort=([\w-]+)\.(\d+)\.(ascending|descending)$/.exec(location.hash);
    const table = wanted && document.getElementById(wanted[1]);
    if (table && Number(wanted[2]) < table.tHead.rows[0].cells.length) {
      sort(table, Number(wanted[2]), wanted[3]);
    }
  }
  follow();
  addEventListener('hashchange', follow);
  addEventListener('beforeprint', () => {
    document.querySelectorAll('details').forEach((each) => { each.open = true; });
  });
})();
