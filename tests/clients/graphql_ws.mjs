// Events as they are ingested, with graphql-ws.
import { connect, position, resuming } from './hogsend.mjs';

const { HOGSEND_URL, HOGSEND_KEY } = process.env;
const client = resuming(connect(HOGSEND_URL, HOGSEND_KEY));

const query = 'subscription ($after: String) { eventReceived(after: $after) { event { name } } }';
const after = await position(HOGSEND_URL, HOGSEND_KEY);
client.subscribe(
  { query, variables: { after } },
  {
    next: ({ data }) => console.log(data.eventReceived.event.name),
    error: (problem) => console.error(problem),
    complete: () => {},
  },
);
