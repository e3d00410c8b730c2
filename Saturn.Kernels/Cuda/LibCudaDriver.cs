namespace Saturn.Kernels.Cuda;

/// <summary>Placeholder.</summary>
public sealed class LibCudaDriver;
