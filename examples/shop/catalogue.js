// What the shop sells, and at what price. Data only: every page and every event takes names and prices from here.

export const CURRENCY = 'USD';

export const CATEGORIES = ['On the water', 'In camp', 'To carry'];

export const PRODUCTS = [
  {
    id: 'packraft', sku: 'OX-101', name: 'Meander packraft', category: 'On the water', price: 640, tint: 18,
    line: 'Two kilos of boat that fits under your arm.',
    about: 'Rolls up to the size of a sleeping bag and inflates in three minutes. The long, straight tubes keep it calm on flat water and forgiving in a riffle.',
    facts: { Weight: '2.1 kg', Length: '230 cm', Load: 'up to 160 kg', Packed: '38 × 16 cm' },
  },
  {
    id: 'paddle', sku: 'OX-102', name: 'Four-piece paddle', category: 'On the water', price: 128, tint: 172,
    line: 'Comes apart for the train home.',
    about: 'A carbon shaft in four pieces, joined by brass ferrules that do not stick when sandy. The blades are small enough for a long day.',
    facts: { Weight: '860 g', Length: '205–215 cm', Packed: '58 cm', Blades: 'glass-filled nylon' },
  },
  {
    id: 'map', sku: 'OX-103', name: 'River map', category: 'On the water', price: 18, tint: 92,
    line: 'Portages, gauges and good places to stop.',
    about: 'Printed on stone paper, so it can be read in the rain and folded badly. One side is the whole river, the other its difficult parts.',
    facts: { Scale: '1 : 50 000', Sheet: '96 × 64 cm', Paper: 'stone, waterproof', Folded: '12 × 16 cm' },
  },
  {
    id: 'dry-bag', sku: 'OX-201', name: 'Dry bag, 20 litres', category: 'To carry', price: 46, tint: 42,
    line: 'Three rolls, one click, dry socks.',
    about: 'Welded seams and a roll top that stays shut when it is thrown. The floor is doubled, as that is where bags die.',
    facts: { Volume: '20 l', Weight: '310 g', Fabric: '420D, TPU-coated', Tested: '30 min at 1 m' },
  },
  {
    id: 'bottle', sku: 'OX-202', name: 'Steel bottle', category: 'To carry', price: 34, tint: 158,
    line: 'Hot until the second breakfast.',
    about: 'Double-walled steel with a beech cap and a loop for a carabiner. The coat is matte, so that wet hands hold it.',
    facts: { Volume: '0.75 l', Weight: '365 g', 'Keeps hot': '12 h', 'Keeps cold': '24 h' },
  },
  {
    id: 'lantern', sku: 'OX-301', name: 'Camp lantern', category: 'In camp', price: 72, tint: 48,
    line: 'A warm light that does not call the moths.',
    about: 'An amber light behind real glass, dimmed with one turn. It runs for three evenings on a charge and stands firm on shingle.',
    facts: { Light: '5–220 lm, 1800 K', Lasts: '18 h at half', Charges: 'USB-C', Height: '24 cm' },
  },
  {
    id: 'mug', sku: 'OX-302', name: 'Enamel mug', category: 'In camp', price: 16, tint: 205,
    line: 'For coffee, soup, and shaving.',
    about: 'Thick steel with two coats of enamel and a rim that does not burn. It will chip one day and be the better for it.',
    facts: { Volume: '0.35 l', Weight: '140 g', Fire: 'yes', Dishwasher: 'if you must' },
  },
  {
    id: 'blanket', sku: 'OX-303', name: 'Wool blanket', category: 'In camp', price: 145, tint: 30,
    line: 'Warm when damp, as wool is.',
    about: 'Woven heavy from unbleached wool, with stripes you can find by firelight. A leather strap keeps it rolled.',
    facts: { Size: '140 × 200 cm', Weight: '1.9 kg', Wool: '100 %', Strap: 'bridle leather' },
  },
];

export const PLANS = [
  { id: 'drifter', name: 'Drifter', month: 0, line: 'Buy what you need, keep it for life.', has: ['Free repairs for two years', 'River levels by email'] },
  { id: 'season', name: 'Season', month: 12, line: 'Borrow a boat whenever the water is right.', has: ['A packraft for eight days a season', 'Repairs for life', '10 % off everything else'], best: true },
  { id: 'outfitter', name: 'Outfitter', month: 90, line: 'For clubs, schools and guides.', has: ['Ten boats, any day', 'One account for the whole team', 'Spare parts the next day'] },
];

export const DELIVERY = [
  { id: 'post', name: 'By post', days: '3–5 days', price: 6 },
  { id: 'courier', name: 'By courier', days: 'tomorrow', price: 14 },
  { id: 'collect', name: 'From the boathouse', days: 'today', price: 0 },
];

export const PAYMENT = [
  { id: 'invoice', name: 'Invoice', line: 'Pay within 30 days.' },
  { id: 'on_delivery', name: 'On delivery', line: 'Pay at the door.' },
  { id: 'card', name: 'Card', line: 'The bank declines it, so that you see what happens then.' },
  { id: 'gift_balance', name: 'Gift balance', line: 'We pretend that you have one.' },
];

export const product = (id) => PRODUCTS.find((p) => p.id === id);

export const money = (amount) =>
  new Intl.NumberFormat('en-US', { style: 'currency', currency: CURRENCY, minimumFractionDigits: Number.isInteger(amount) ? 0 : 2 }).format(amount);

/** A product as the e-commerce events describe it. */
export const described = (p, more = {}) => ({
  product_id: p.id, sku: p.sku, name: p.name, category: p.category, price: p.price, currency: CURRENCY, ...more,
});
