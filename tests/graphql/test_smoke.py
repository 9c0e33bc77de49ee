from tests.graphql.conftest import Ask


async def test_it(ask: Ask, happen: Ask):
    await happen("user.signed_up", "ada")
    print(await ask('{ contact(by: {externalId: "ada"}) { id uuid userId email timeline { totalCount nodes { __typename id at kind cursor ... on EventReceived { event { name contact { email } } } ... on DecisionMade { decision { reason detail } } ...on JourneyProgress { progress state { id journeyId logs { nodes { action } } } } } } journeyStates { nodes { status } } } }'))
    print(await ask('{ health { status database { up } schema { inSync } } viewer { name scopes rateLimit { limit } } journeys { nodes { key enabled counts { active waiting } trigger { event where } } } templates { totalCount nodes { key } } }'))
