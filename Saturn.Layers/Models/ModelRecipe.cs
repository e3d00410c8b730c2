using Saturn.Kernels;
using Saturn.Kernels.Families;

namespace Saturn.Layers.Models;

/// <summary>What a model is made from: enough to build it again, up to the weights.</summary>
/// <param name="Name">mlp, cnn, resnet18, resnet34, resnet50, vgg16 or vit.</param>
/// <param name="Width">Channels of the first stage (hidden units of the MLP, embedding channels of the ViT); 64 is the paper's.</param>
/// <param name="Classes">Outputs.</param>
/// <param name="InputHeight">Pixels.</param>
/// <param name="InputWidth">Pixels.</param>
/// <param name="InputChannels">Channels of the images.</param>
/// <param name="Activation">relu, leakyrelu, gelu or silu.</param>
/// <param name="Seed">Seed of dropout masks.</param>
/// <param name="Patch">Pixels of a patch's side, of the ViT.</param>
/// <param name="Depth">Blocks of the ViT.</param>
/// <param name="Heads">Attention heads of the ViT; 0 for one every 32 channels.</param>
public sealed record ModelRecipe(
    string Name, int Width, int Classes, int InputHeight, int InputWidth, int InputChannels, string Activation = "relu", ulong Seed = 0, int Patch = 4,
    int Depth = 6, int Heads = 0)
{
    /// <summary>The shape of a batch of images.</summary>
    public Shape InputShape(int batch) => new(batch, InputHeight, InputWidth, InputChannels);

    /// <summary>The activation function by its name.</summary>
    /// <exception cref="ArgumentException">The name is unknown.</exception>
    public Activation ActivationFunction() => Activation switch
    {
        "relu" => Kernels.Families.Activation.Relu,
        "leakyrelu" => Kernels.Families.Activation.LeakyRelu(),
        "gelu" => Kernels.Families.Activation.Gelu,
        "silu" => Kernels.Families.Activation.Silu(),
        _ => throw new ArgumentException($"Unknown activation '{Activation}'; known: relu, leakyrelu, gelu, silu."),
    };
}
