/** The functions that the objectives of §5.4.4 name. */
export const FUNCTIONS = [
  "user-authentication",
  "permission-management",
  "tenant-management",
  "database-replication",
  "cache-synchronization",
  "backup-restoration",
] as const;
export type FunctionName = (typeof FUNCTIONS)[number];

/** Functions of the core business. Each of their requests needs the edge, the API, the database, and a session in
 *  Redis. */
export const CORE: readonly FunctionName[] = ["user-authentication", "permission-management", "tenant-management"];

/** An objective of §5.4.4. */
export interface Objective {
  readonly name: string;
  /** Functions that it is for. */
  readonly functions: readonly FunctionName[];
  /** Key of a rule's configuration that holds its seconds. */
  readonly key: "coreBusinessSeconds" | "dataServicesSeconds";
  /** Defaults in seconds. */
  readonly recoveryTime: number;
  readonly recoveryPoint: number;
}

/** The objectives of the design, §5.4.4: 5 min and 1 min, 10 min and 5 min. */
export const OBJECTIVES: readonly Objective[] = [
  { name: "core-business", functions: CORE, key: "coreBusinessSeconds", recoveryTime: 300, recoveryPoint: 60 },
  {
    name: "data-services",
    functions: ["database-replication", "cache-synchronization", "backup-restoration"],
    key: "dataServicesSeconds",
    recoveryTime: 600,
    recoveryPoint: 300,
  },
];
