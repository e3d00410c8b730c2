namespace Saturn.Prune.Methods;

/// <summary>No pruning: the run that all others are compared with.</summary>
[Method("dense", "Nothing is removed; the run that the others are compared with.", "none")]
public sealed class Dense : PruningMethod;
