// Draws the charts of the page, each when it comes into view, in the place of its picture. Needs no network.
(() => {
  'use strict';
  const packed = document.getElementById('charts');
  const places = [...document.querySelectorAll('figure[data-chart]')];
  if (!packed || !places.length || !window.IntersectionObserver || !window.DecompressionStream) return;

  document.documentElement.classList.add('scripted');
  const views = new Map();
  let block;

  async function unpack() {
    const bytes = Uint8Array.from(atob(packed.textContent.trim()), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    const found = JSON.parse(await new Response(stream).text());
    packed.remove();
    const script = document.createElement('script');
    script.textContent = found.library;
    document.head.append(script);
    delete found.library;
    return found;
  }

  // Tables travel as names and rows; the coastline once for all maps.
  function unfold(part) {
    if (Array.isArray(part)) return part.map(unfold);
    if (part === null || typeof part !== 'object') return part;
    const whole = {};
    for (const [key, value] of Object.entries(part)) {
      whole[key] = key === 'values' && value && value.rows
        ? value.rows.map(row => Object.fromEntries(value.names.map((name, place) => [name, row[place]])))
        : unfold(value);
    }
    if (whole.name && block.data[whole.name] && !whole.values) whole.values = block.data[whole.name];
    return whole;
  }

  function chosen(place) {
    const section = place.closest('main > section');
    return section ? [...section.querySelectorAll('select[data-signal]')] : [];
  }

  async function draw(place) {
    const mount = document.createElement('div');
    mount.className = 'live';
    try {
      block = block || unpack();
      block = await block;
      const spec = unfold(block.charts[place.dataset.chart]);
      for (const select of chosen(place)) {
        for (const param of spec.params || []) if (param.name === select.dataset.signal) param.value = select.value;
      }
      // As high as the picture, so that nothing on the page moves.
      spec.height = Math.round(place.querySelector('svg.fig').getBoundingClientRect().height);
      spec.autosize = {type: 'fit', contains: 'padding'};
      place.prepend(mount);
      place.classList.add('drawn');
      const result = await window.vegaEmbed(mount, spec, {
        actions: false, ast: true, config: block.config, defaultStyle: false, mode: 'vega-lite', renderer: 'svg',
        tooltip: {disableDefaultStyle: true},
      });
      views.set(place, result.view);
    } catch (error) {
      place.classList.remove('drawn');
      mount.remove();
      console.error(`The chart ${place.dataset.chart} could not be drawn; its picture stays.`, error);
    }
  }

  const observer = new IntersectionObserver(entries => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      draw(entry.target);
    }
  }, {rootMargin: '300px'});
  places.forEach(place => observer.observe(place));

  for (const select of document.querySelectorAll('select[data-signal]')) {
    select.closest('.controls').hidden = false;
    select.addEventListener('change', () => {
      for (const [place, view] of views) {
        if (!chosen(place).includes(select)) continue;
        try {
          view.signal(select.dataset.signal, select.value).runAsync();
        } catch (error) {
          console.error('A chart does not follow the menu.', error);
        }
      }
    });
  }
})();
