// A shop with one product. What a person does is told in event handlers, not in effects: an effect runs again when React
// renders again, and twice in development. Pages and time on a product need no call at all.

import { useEffect, useState } from 'react';
import { headwater } from './headwater.js';

const kettle = { sku: 'kettle-01', name: 'Kettle', price: 49 };

export function Shop() {
  const [path, go] = usePath();
  return path === '/' ? <List go={go} /> : <Product go={go} />;
}

function List({ go }) {
  return (
    <main>
      <h1>Kettles</h1>
      <button onClick={() => go('/kettle')}>Show the kettle</button>
    </main>
  );
}

function Product({ go }) {
  const [added, add] = useState(false);
  return (
    // `data-hw-view`: the time that it is in view and looked at.
    <main data-hw-view={`product:${kettle.sku}`}>
      <h1>{kettle.name}</h1>
      <button
        data-hw-ignore // told by hand below
        onClick={() => {
          headwater.track('Product Added', kettle);
          add(true);
        }}
      >
        {added ? 'In the cart' : 'Add to cart'}
      </button>
      {/* Told without a handler. */}
      <button data-hw-event="Reviews Opened" data-hw-sku={kettle.sku}>Reviews</button>
      <button onClick={() => go('/')}>Back</button>
    </main>
  );
}

function usePath() {
  const [path, set] = useState(location.pathname);
  useEffect(() => {
    const moved = () => set(location.pathname);
    addEventListener('popstate', moved);
    return () => removeEventListener('popstate', moved);
  }, []);
  return [path, (to) => {
    history.pushState(null, '', to);
    set(to);
  }];
}
