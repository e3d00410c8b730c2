namespace Saturn.Training.Data;

/// <summary>Data that cannot be used: one sentence that says what was expected, what came, and what to do.</summary>
public sealed class DataException(string message) : Exception(message);
