// Events as they are ingested, with Apollo Client.
import { ApolloClient, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { connect, position, resuming } from './hogsend.mjs';

const { HOGSEND_URL, HOGSEND_KEY } = process.env;
const client = new ApolloClient({
  link: new GraphQLWsLink(resuming(connect(HOGSEND_URL, HOGSEND_KEY))),
  cache: new InMemoryCache(),
});

const query = gql`
  subscription ($after: String) {
    eventReceived(after: $after) { event { name } }
  }
`;
const after = await position(HOGSEND_URL, HOGSEND_KEY);
client.subscribe({ query, variables: { after } }).subscribe({
  next: ({ data }) => console.log(data.eventReceived.event.name),
  error: (problem) => console.error(problem),
});
