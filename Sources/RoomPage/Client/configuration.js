//# allFunctionsCalledOnLoad
/**
 * The values by which the machines decide, with the names and defaults of RoomCore's configurations. Times are seconds.
 */

export const backoffConfiguration = {
    reconnect: /** @type {import("./room.js").ReconnectBackoff} */ ({ base: 0.1, cap: 1, maximum: 10 }),
    factor: 2,
    patience: 30,
    stableAfter: 5,
};

export const signalingConfiguration = {
    backoff: backoffConfiguration,
    attemptTimeout: 10,
    helloTimeout: 5,
    probeDeadline: 2,
    ackDelay: 0.2,
    ackEvery: 16,
    queueLimit: 1024,
    queueByteLimit: 1 << 20,
    timerTolerance: 1,
    credentialMargin: 30,
    credentialPatience: 2,
    iceRefreshFraction: 0.7,
};

export const recoveryBudgets = {
    silence: 2, probe: 0.5, restart: 2.5, rebuild: 15, rebuildWithoutPath: 60, connect: 10, absence: 60, spread: 1,
    stall: 8,
};

export const recoveryConfiguration = {
    rejoinPolicy: /** @type {"all" | "broken" | "none"} */ ("all"),
    budgets: recoveryBudgets,
    restartBackoff: 1,
    restartMaximum: 10,
    optionalAttempts: 4,
    restartSpacing: 0.5,
    networkSpacing: 0.1,
    connectMaximum: 60,
    rebuildDelay: 1,
    rebuildDelayMaximum: 30,
    closedBudget: 2,
    firstDataBudget: 1,
    stallReminder: 120,
    maximumConnecting: 8,
    offerBurst: 8,
    offerInterval: 0.5,
    offerBurstOfAll: 64,
    offerIntervalOfAll: 0.03,
    candidateLimit: 64,
    timerTolerance: 1,
};

/**
 * The room that a machine is to be in, and how patient the machine is.
 * @typedef {{
 *     room: string, role: "host" | "guest" | "first", waitsForRoom: boolean, name: string,
 *     metadata: Record<string, string>, capabilities: string[], token?: string, hasCredentialProvider: boolean,
 *     hasICEServerProvider: boolean,
 *     ice: { servers: import("./room.js").ICEServer[], policy: "all" | "relay" },
 *     signaling: typeof signalingConfiguration, recovery: typeof recoveryConfiguration,
 * }} MachineConfiguration
 */

/**
 * Returns a configuration with the defaults for everything that `values` does not name.
 * @param {{ room: string, role: "host" | "guest" | "first", name: string } & Partial<MachineConfiguration>} values
 * @returns {MachineConfiguration}
 */
export const machineConfiguration = (values) => ({
    waitsForRoom: false, metadata: {}, capabilities: [], hasCredentialProvider: false, hasICEServerProvider: false,
    ice: { servers: [], policy: "all" }, signaling: signalingConfiguration,
    recovery: recoveryConfiguration, ...values,
});
