namespace Saturn.Kernels.Cuda;

/// <summary>How the activations of a call are stored, which decides the version of its kernel: float32, or bfloat16.</summary>
/// <param name="Element">The type.</param>
internal readonly record struct ActivationType(ElementType Element)
{
    /// <summary>Neighbouring channels that a thread owns, 16 bytes, as <c>kernels/channels.cuh</c> says.</summary>
    public int OwnedChannels => 16 / Element.Size();

    /// <summary>The one type of all activations of a call.</summary>
    /// <param name="call">The family's method, for the message.</param>
    /// <param name="activations">The buffers; absent ones do not count.</param>
    /// <exception cref="ArgumentException">They are of two types, or of one that is none of activations.</exception>
    public static ActivationType Of(string call, params ReadOnlySpan<DeviceBuffer> activations)
    {
        ElementType? type = null;
        foreach (DeviceBuffer buffer in activations)
        {
            if (buffer.IsNone)
            {
                continue;
            }

            if (buffer.Type is not (ElementType.Float32 or ElementType.BFloat16))
            {
                throw new ArgumentException($"{call} takes float32 or bfloat16, but got a buffer of {buffer.Type}.");
            }

            if (type is { } first && first != buffer.Type)
            {
                throw new ArgumentException($"{call} takes activations and gradients of one type, but got {first} and {buffer.Type}; convert one of them (IElementwiseKernels.Convert).");
            }

            type = buffer.Type;
        }

        return new ActivationType(type ?? ElementType.Float32);
    }

    /// <summary>Refuses bfloat16, for kernels that exist for float32 alone.</summary>
    /// <inheritdoc cref="Of" path="/param"/>
    /// <exception cref="ArgumentException">One of the buffers is bfloat16.</exception>
    public static void RequireFloat32(string call, params ReadOnlySpan<DeviceBuffer> activations)
    {
        foreach (DeviceBuffer buffer in activations)
        {
            if (buffer.Type == ElementType.BFloat16)
            {
                throw new ArgumentException($"{call} takes float32 only, but got a buffer of {buffer.Type}; convert it first (IElementwiseKernels.Convert).");
            }
        }
    }
}
