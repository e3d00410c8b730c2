namespace Saturn.Kernels.Cuda;

/// <summary>A kernel over activations in its two versions: for float32 under the plain name, and for bfloat16 under that name with <c>Bf16</c> behind it.</summary>
/// <typeparam name="TArguments">The argument struct, the same for both.</typeparam>
/// <param name="module">The module that holds both.</param>
/// <param name="name">The plain name.</param>
internal sealed class TypedKernel<TArguments>(CudaModule module, string name)
    where TArguments : unmanaged
{
    private readonly CudaKernel<TArguments> float32 = module.Kernel<TArguments>(name);
    private readonly CudaKernel<TArguments> bfloat16 = module.Kernel<TArguments>(name + "Bf16");

    /// <summary>Launches the version for a type.</summary>
    public void Launch(ActivationType type, in TArguments arguments, in LaunchGeometry geometry) =>
        (type.Element == ElementType.BFloat16 ? bfloat16 : float32).Launch(arguments, geometry);
}
