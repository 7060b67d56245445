import { readFile } from "node:fs/promises";
import { Redis } from "ioredis";
import { nodeView, type NodeView } from "../core/redis-nodes.ts";
import type { RedisKeeperConfig } from "../core/redis-keeper-config.ts";
import type { Action } from "../core/redis-topology.ts";

type Node = RedisKeeperConfig["nodes"][number];

/** The keeper's connection to one node: kept while it works, made anew after any error. */
export class NodeClient {
  readonly node: Node;
  readonly #config: RedisKeeperConfig;
  #client: Redis | undefined;

  constructor(node: Node, config: RedisKeeperConfig) {
    this.node = node;
    this.#config = config;
  }

  /** What the node says of itself and of the others.
   *  @throws when it does not answer in time, refuses, or is still loading its data */
  look(): Promise<NodeView> {
    return this.#bounded(async (client) => {
      // In one packet, which Redis answers in one go: no change of the cluster comes between the two.
      const answers = await client.pipeline().call("CLUSTER", "NODES").call("INFO", "replication", "keyspace").exec();
      const [nodes, info] = (answers ?? []).map(([error, answer]) => {
        if (error) throw error;
        return String(answer);
      });
      return nodeView(nodes!, info!);
    });
  }

  /** Carries out one action on this node.
   *  @throws when the node refuses or does not answer in time */
  act(action: Action): Promise<void> {
    return this.#bounded(async (client) => {
      await client.call("CLUSTER", ...clusterArguments(action));
    });
  }

  close(): void {
    this.#client?.disconnect();
    this.#client = undefined;
  }

  /** Runs a conversation that, connecting included, ends within two call time-outs. */
  async #bounded<T>(talk: (client: Redis) => Promise<T>): Promise<T> {
    const limit = 2 * this.#config.callTimeoutMillis;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${limit} ms`)), limit);
    });
    const conversation = this.#connected().then(talk);
    // When the time-out wins, the conversation's own end is of no interest any more.
    conversation.catch(() => {});
    try {
      return await Promise.race([conversation, late]);
    } catch (error) {
      // A refusal by the server leaves the connection as it was; everything else may have broken it.
      if (!(error instanceof Error && error.name === "ReplyError")) this.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async #connected(): Promise<Redis> {
    if (this.#client?.status === "ready") return this.#client;
    this.close();
    const { tls, user, passwordFile, callTimeoutMillis } = this.#config;
    const [ca, cert, key, password] = await Promise.all([
      readFile(tls.caFile),
      readFile(tls.certFile),
      readFile(tls.keyFile),
      readFile(passwordFile, "utf8"),
    ]);
    const client = new Redis({
      host: this.node.host,
      port: this.node.port,
      username: user,
      password: password.trim(),
      tls: { ca, cert, key, servername: tls.serverName ?? this.node.host },
      lazyConnect: true,
      connectTimeout: callTimeoutMillis,
      commandTimeout: callTimeoutMillis,
      maxRetriesPerRequest: 0,
      // One attempt each time: the keeper's next look is the retry.
      retryStrategy: () => null,
      enableReadyCheck: false,
      disableClientInfo: true,
    });
    // The reason is kept for the one who waits: connect() itself only says that the connection is closed.
    let reason: Error | undefined;
    client.on("error", (error: Error) => {
      reason = error;
    });
    this.#client = client;
    try {
      await client.connect();
    } catch (error) {
      throw reason ?? error;
    }
    return client;
  }
}

/** The command of an action, after the word CLUSTER. */
function clusterArguments(action: Action): string[] {
  switch (action.kind) {
    case "meet": {
      const { ip, port, busPort } = action.address;
      return ["MEET", ip, String(port), String(busPort)];
    }
    case "forget":
      return ["FORGET", action.id];
    case "assign":
      return ["ADDSLOTSRANGE", String(action.slots[0]), String(action.slots[1])];
    case "replicate":
      return ["REPLICATE", action.masterId];
    case "failover":
      return ["FAILOVER"];
    case "bump":
      return ["BUMPEPOCH"];
    case "takeover":
      return ["FAILOVER", "TAKEOVER"];
  }
}
