"""The tabs that GraphiQL opens with. A test runs each of them."""

EXAMPLES = (
    """# What happened to her, and why? Press Ctrl-Enter.
# The key is in the Headers pane below.

query WhatHappened {
  contact(by: { externalId: "ada" }) {
    email
    timeline(first: 20) {
      nodes {
        at
        kind
        ... on EventReceived { event { name properties } }
        ... on JourneyProgress { progress state { journeyId waitingFor { event until } } }
        ... on EmailActivity { activity email { subject status } }
        ... on DecisionMade { decision { kind reason detail } }
      }
    }
  }
}
""",
    """# Her timeline, live: run this, then send the event of the next tab.

subscription Live {
  contactTimeline(by: { externalId: "ada" }) {
    at
    kind
    cursor
    ... on EventReceived { event { name } }
    ... on JourneyProgress { progress state { journeyId } }
    ... on EmailActivity { activity email { subject } }
    ... on DecisionMade { decision { kind reason } }
  }
}
""",
    """# Let something happen to her.

mutation Happen {
  eventIngest(
    input: { name: "user.signed_up", userId: "ada", email: "ada@example.com", eventProperties: { plan: "pro" } }
  ) {
    stored
    event { id decisions { nodes { kind reason journeyId } } }
    userErrors { field message code }
  }
}
""",
    """# Who is where?

query Journeys {
  journeys {
    nodes {
      key
      name
      enabled
      trigger { event description }
      counts { active waiting completed exited failed }
      states(first: 5) { nodes { userId status currentNodeId waitingFor { event until } } }
    }
  }
}
""",
    """# What was sent, and what became of it?

query Emails {
  emails(first: 10) {
    totalCount
    nodes {
      toEmail
      subject
      status
      refusal
      history { nodes { type at url } }
      links { nodes { originalUrl clicks { totalCount } } }
    }
  }
}
""",
    """# Why was nobody written to?

query Refusals {
  decisions(filter: { kinds: [SKIPPED, SUPPRESSED, FAILED, BLOCKED] }, first: 20) {
    nodes { at kind reason detail contact { email } journeyId }
  }
}
""",
    """# What fails for good, as it fails.

subscription DeadLetters {
  deadLetterAdded {
    cursor
    deadLetter { source error retryCount subject { id } }
  }
}
""",
)
