namespace Saturn.Engine.Checkpoints;

/// <summary>A checkpoint or weights file that cannot be used, in one sentence.</summary>
public sealed class CheckpointException(string message) : Exception(message);
